//! Takes config and manifest from BuildKit. They are kept in memory, and the manifest's COMMIT
//! finishes the export.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{Core, layer};
use crate::{
    content::{Commit, Error, Ingest, IngestSpec, IngestStatus},
    digest::Digest,
};

/// Bytes of config and manifest together. A layer needs some 500 bytes in them, so this allows
/// for more layers than a snapshotter can stack.
const MAX_BYTES: u64 = 32 << 20;

/// The documents of one export that have been committed.
#[derive(Default)]
pub(super) struct Documents(Mutex<HashMap<Digest, Bytes>>);

impl Documents {
    /// The document `digest`.
    pub fn get(&self, digest: Digest) -> Option<Bytes> {
        self.lock().get(&digest).cloned()
    }

    /// Forgets them all.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn insert(&self, digest: Digest, content: Bytes) -> Result<(), Error> {
        let mut documents = self.lock();
        let held: u64 = documents.values().map(|held| held.len() as u64).sum();
        if held + content.len() as u64 > MAX_BYTES {
            return Err(too_large(digest));
        }
        documents.insert(digest, content);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A config or manifest that is being written.
pub(super) struct DocumentIngest {
    core: Arc<Core>,
    digest: Digest,
    status: IngestStatus,
    content: BytesMut,
}

impl DocumentIngest {
    /// Documents are always taken, whatever the cache has: without them there is no index.
    pub fn open(core: Arc<Core>, digest: Digest, spec: IngestSpec) -> Result<Self, Error> {
        if spec.total.is_some_and(|total| total > MAX_BYTES) {
            return Err(too_large(digest));
        }
        let now = SystemTime::now();
        let status = IngestStatus {
            spec,
            offset: 0,
            started_at: now,
            updated_at: now,
        };
        Ok(Self {
            core,
            digest,
            status,
            content: BytesMut::new(),
        })
    }
}

#[async_trait]
impl Ingest for DocumentIngest {
    fn status(&self) -> IngestStatus {
        self.status.clone()
    }

    async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.core.check_open()?;
        if (self.content.len() + data.len()) as u64 > MAX_BYTES {
            return Err(too_large(self.digest));
        }
        self.content.extend_from_slice(&data);
        self.status.offset = self.content.len() as u64;
        self.status.updated_at = SystemTime::now();
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Error> {
        self.content.clear();
        self.status.offset = 0;
        Ok(())
    }

    async fn commit(&mut self, commit: Commit) -> Result<Digest, Error> {
        self.core.check_open()?;
        let content = std::mem::take(&mut self.content).freeze();
        let written = Digest::of(&content);
        let total = commit.total.or(self.status.spec.total);
        let size = content.len() as u64;
        layer::check(self.digest, written, total, size, &commit)?;
        if is_manifest(&content) {
            self.core.manifest.get_or_init(|| written);
            self.core.finish(&content).await?;
        } else {
            self.core.documents.insert(written, content)?;
        }
        Ok(written)
    }
}

/// Tells a manifest from a config: only the manifest has a schema version.
fn is_manifest(content: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Peek {
        #[serde(rename = "schemaVersion")]
        _schema_version: u32,
    }
    serde_json::from_slice::<Peek>(content).is_ok()
}

fn too_large(digest: Digest) -> Error {
    Error::InvalidArgument(format!(
        "cache export: config and manifest may have {MAX_BYTES} bytes together, {digest} makes \
         them larger"
    ))
}
