//! Layers that are fetched and verified before they are promised (`import-verify=full`), so that
//! every fault is a miss.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering};

use super::{
    Core,
    promise::{Miss, Promised},
};
use crate::{
    cache::{blob::Blob, report::Event},
    digest::Digest,
};

/// Layers that are verified before they are promised stay in the spool until they are pulled: they
/// may have one part in so many of it, so that other pulls have room whatever waits there.
const VERIFIED_SHARE: u64 = 2;

/// A verified layer on disk, for the first who takes it.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Option<Blob>>>);

impl Kept {
    /// The layer, which is not kept any more.
    pub fn take(&self) -> Option<Blob> {
        self.lock().take()
    }

    fn put(&self, blob: Blob) {
        *self.lock() = Some(blob);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Blob>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Fetches a layer before it is promised, as long as there is room to keep it.
    pub(super) async fn verified(
        &self,
        digest: Digest,
        promised: Promised,
    ) -> Result<Promised, Miss> {
        if promised.content.is_some() {
            return Ok(promised);
        }
        let imports = &self.cache.imports;
        if imports.used().saturating_add(promised.size) > imports.capacity() / VERIFIED_SHARE {
            self.tell_of_room(digest, promised.size);
            return Ok(promised);
        }
        let blob = self.download(digest, &promised).await;
        promised.verified.put(blob.map_err(Miss::Unverified)?);
        Ok(promised)
    }

    fn tell_of_room(&self, digest: Digest, size: u64) {
        if !self.promises.told_of_room.swap(true, Ordering::Relaxed) {
            self.reporter.report(Event::Note(format!(
                "import-verify=full: no room in the import spool to keep {digest} ({size} bytes) \
                 and maybe others; they are probed instead"
            )));
        }
    }
}
