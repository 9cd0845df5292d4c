//! A [`BlobStore`] in a bucket of S3, Google Cloud Storage or Azure, for any number of processes: `blobs/<id>` is the
//! content of an entry, `multiparts/<id>` names the multipart upload of an upload that has begun one, and `direct/<id>`
//! is what a client has sent to Azure itself.
//!
//! The process that has reserved an entry takes its bytes: into a file without a name first, and from there to the
//! bucket in parts while more arrive. What S3 calls a part has at least 5 MiB, whatever clients send, and a content
//! is one object: see ADR 72.

mod api;
mod bucket_url;
mod call;
mod client;
mod multipart;
mod reader;
mod signed_urls;
mod spool;
mod staged_object;
#[cfg(test)]
#[cfg(feature = "e2e")] // They run servers.
mod tests;

use std::{fmt, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

pub use self::bucket_url::BucketUrl;
#[cfg(test)]
#[cfg(feature = "e2e")]
pub(super) use self::tests::{open_azure, open_gcs, open_s3};
use self::{client::Client, signed_urls::SignedUrls, spool::Spool, staged_object::StagedObject};
use super::{
    blob_store::{BlobStore, ContentStream, DirectProtocol, Published, StagedBlob},
    error::StoreError,
};
use crate::{
    secret::SecretUrl,
    service::{blocking::run_blocking, data_dir::DataDir},
};

/// The contents in one place of a bucket.
pub(crate) struct BucketStore {
    client: Arc<Client>,
    spools: PathBuf,
    /// Whether clients may reach the bucket themselves.
    direct: bool,
}

impl fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketStore").finish_non_exhaustive()
    }
}

impl BucketStore {
    /// The contents at `url`; what is on its way there lies in `data_dir`. With `direct`, clients are given URLs of
    /// the provider.
    pub(crate) fn open(
        url: &BucketUrl,
        data_dir: &DataDir,
        direct: bool,
    ) -> Result<Self, StoreError> {
        Self::new(url.connect(&[])?, data_dir, direct)
    }

    fn new(client: Client, data_dir: &DataDir, direct: bool) -> Result<Self, StoreError> {
        Ok(Self {
            client: Arc::new(client),
            spools: data_dir.subdir("uploads")?,
            direct,
        })
    }

    /// Fails if clients are to be given URLs and the provider's keys sign none. Asks the provider only for keys.
    pub(crate) async fn check_signing(&self) -> Result<(), StoreError> {
        if self.direct {
            self.client.read_url(0, Duration::from_secs(1)).await?;
        }
        Ok(())
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
        Self::new(Client::new(api, "cache".into()), data_dir, false).unwrap()
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

    fn direct_protocol(&self) -> Option<DirectProtocol> {
        let signed_urls = self.client.signed_urls().filter(|_| self.direct);
        signed_urls.map(SignedUrls::protocol)
    }

    async fn direct_read(
        &self,
        id: i64,
        content: &Published,
        ttl: Duration,
    ) -> Result<Option<SecretUrl>, StoreError> {
        match content.extents[..] {
            [all] if self.direct && all.offset == 0 && all.len == content.stored => {
                self.client.read_url(id, ttl).await
            }
            _ => Ok(None),
        }
    }

    async fn direct_upload(&self, id: i64, ttl: Duration) -> Result<Option<SecretUrl>, StoreError> {
        match self.direct_protocol() {
            Some(DirectProtocol::Azure) => self.client.write_url(id, ttl).await,
            _ => Ok(None),
        }
    }

    async fn remove(&self, id: i64) -> Result<(), StoreError> {
        self.client.remove(id).await?;
        self.client.remove_direct(id).await?;
        self.client.abort_orphaned_multipart(id).await
    }

    fn ids(&self) -> BoxStream<'_, Result<i64, StoreError>> {
        self.client.ids()
    }
}
