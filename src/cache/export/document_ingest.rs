//! Takes config and manifest from BuildKit. The manifest's COMMIT finishes the export.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{commit_check::check_commit, documents::check_size, finisher::Finisher};
use crate::{
    content::{Commit, Error, Ingest, IngestSpec, IngestStatus},
    digest::Digest,
};

/// A config or manifest that is being written.
pub(super) struct DocumentIngest {
    finisher: Arc<Finisher>,
    digest: Digest,
    status: IngestStatus,
    content: BytesMut,
}

impl DocumentIngest {
    /// Documents are always taken, whatever the cache has: without them there is no index.
    pub fn open(finisher: Arc<Finisher>, digest: Digest, spec: IngestSpec) -> Result<Self, Error> {
        check_size(digest, spec.total.unwrap_or(0))?;
        let now = SystemTime::now();
        let status = IngestStatus {
            spec,
            offset: 0,
            started_at: now,
            updated_at: now,
        };
        Ok(Self {
            finisher,
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
        self.finisher.state.check_open()?;
        check_size(self.digest, (self.content.len() + data.len()) as u64)?;
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
        self.finisher.state.check_open()?;
        let content = std::mem::take(&mut self.content).freeze();
        let written = Digest::sha256(&content);
        let total = commit.total.or(self.status.spec.total);
        let size = content.len() as u64;
        check_commit(self.digest, written, total, size, &commit)?;
        if is_manifest(&content) {
            self.finisher.finish(written, &content).await?;
        } else {
            self.finisher.documents.insert(written, content)?;
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
