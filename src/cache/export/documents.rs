//! The config and the manifest of an export, kept in memory.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{content::Error, digest::Digest};

/// Bytes of config and manifest together. A layer needs some 500 bytes in them, so this allows
/// for more layers than a snapshotter can stack.
const MAX_BYTES: u64 = 32 << 20;

/// The documents of one export that have been committed.
#[derive(Default)]
pub(super) struct Documents(Mutex<HashMap<Digest, Bytes>>);

impl Documents {
    pub fn get(&self, digest: Digest) -> Option<Bytes> {
        self.0.lock().get(&digest).cloned()
    }

    /// Keeps one more, if there is room for it.
    pub fn insert(&self, digest: Digest, content: Bytes) -> Result<(), Error> {
        let mut documents = self.0.lock();
        let kept: u64 = documents.values().map(|kept| kept.len() as u64).sum();
        check_size(digest, kept + content.len() as u64)?;
        documents.insert(digest, content);
        Ok(())
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

/// An error if documents may not have so many bytes, of which `digest` has the last.
pub(super) fn check_size(digest: Digest, size: u64) -> Result<(), Error> {
    if size > MAX_BYTES {
        return Err(Error::InvalidArgument(format!(
            "cache export: config and manifest may have {MAX_BYTES} bytes together, {digest} makes \
             them larger"
        )));
    }
    Ok(())
}
