//! A [`BlobStore`] in a bucket of S3, Google Cloud Storage or Azure, for any number of processes: `blobs/<id>` is the
//! content of an entry, `multiparts/<id>` names the multipart upload of an upload that has begun one.
//!
//! The process that has reserved an entry takes its bytes: into a file without a name first, and from there to the
//! bucket in parts while more arrive. What S3 calls a part has at least 5 MiB, whatever clients send, and a content
//! is one object: see ADR 72.

mod api;
mod bucket_url;
mod client;
mod multipart;
mod reader;
mod spool;
mod staged_object;
#[cfg(test)]
#[cfg(feature = "e2e")] // They run servers.
mod tests;

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

pub use self::bucket_url::BucketUrl;
#[cfg(test)]
#[cfg(feature = "e2e")]
pub(super) use self::tests::{open_azure, open_s3};
use self::{client::Client, spool::Spool, staged_object::StagedObject};
use super::{
    blob_store::{BlobStore, ContentStream, Published, StagedBlob},
    error::StoreError,
};
use crate::service::{blocking::run_blocking, data_dir::DataDir};

/// The contents in one place of a bucket.
pub(crate) struct BucketStore {
    client: Arc<Client>,
    spools: PathBuf,
}

impl fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketStore").finish_non_exhaustive()
    }
}

impl BucketStore {
    /// The contents at `url`; what is on its way there lies in `data_dir`.
    pub(crate) fn open(url: &BucketUrl, data_dir: &DataDir) -> Result<Self, StoreError> {
        Self::new(url.connect(&[])?, data_dir)
    }

    fn new(client: Client, data_dir: &DataDir) -> Result<Self, StoreError> {
        Ok(Self {
            client: Arc::new(client),
            spools: data_dir.subdir("uploads")?,
        })
    }

    /// What tells these contents from all others; given to them by whoever comes first.
    pub(crate) async fn name(&self) -> Result<String, StoreError> {
        self.client.name().await
    }
}

#[cfg(test)]
impl BucketStore {
    /// Contents in memory, as a provider would keep them.
    pub(super) fn in_memory(data_dir: &DataDir) -> Self {
        let api = Arc::new(object_store::memory::InMemory::new());
        Self::new(Client::new(api, "cache".into()), data_dir).unwrap()
    }
}

#[async_trait]
impl BlobStore for BucketStore {
    async fn stage(&self, id: i64) -> Result<Arc<dyn StagedBlob>, StoreError> {
        let (client, spools) = (Arc::clone(&self.client), self.spools.clone());
        run_blocking(move || {
            // It has no name: whatever ends the process, nothing stays.
            let spool = Spool::new(tempfile::tempfile_in(spools)?, id);
            Ok(Arc::new(StagedObject::new(id, spool, client)) as Arc<dyn StagedBlob>)
        })
        .await
    }

    /// Says yes: a lookup would have to wait for the bucket, and objects do not lose bytes.
    async fn check(&self, _id: i64, _stored: u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn open(
        &self,
        id: i64,
        content: Published,
        range: Range<u64>,
    ) -> Result<ContentStream, StoreError> {
        reader::open(Arc::clone(&self.client), id, content, range).await
    }

    async fn remove(&self, id: i64) -> Result<(), StoreError> {
        self.client.remove(id).await?;
        self.client.abort_orphaned_multipart(id).await
    }

    fn ids(&self) -> BoxStream<'_, Result<i64, StoreError>> {
        self.client.ids()
    }
}
