//! The calls to a bucket: names of objects, limits of time, and what failures mean.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{
    GetOptions, GetRange, GetResult, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    multipart::PartId, path::Path,
};
use tokio::sync::Semaphore;

use super::{
    api::BucketApi,
    call::{store_error, within, within_timeout},
    signed_urls::SignedUrls,
};
use crate::{
    lifecycle::Tasks,
    secret::SecretUrl,
    service::store::{
        blob_store::DirectProtocol,
        error::{StoreError, StoreErrorKind, StoreKind},
    },
};

/// How many parts of all uploads are in memory, on their way to the bucket: with
/// [`super::staged_object::PART_BYTES`] each that is 64 MiB, and as many connections fill any link.
const MAX_PARTS_IN_MEMORY: usize = 8;

/// One place in a bucket.
pub(super) struct Client {
    api: Arc<dyn BucketApi>,
    root: Path,
    /// The provider's own, if it is one that signs URLs.
    signed_urls: Option<SignedUrls>,
    /// Room in memory for parts.
    pub(super) part_permits: Arc<Semaphore>,
    /// What sends them.
    pub(super) tasks: Tasks,
}

impl Client {
    pub(super) fn new(api: Arc<dyn BucketApi>, root: Path) -> Self {
        Self {
            api,
            root,
            signed_urls: None,
            part_permits: Arc::new(Semaphore::new(MAX_PARTS_IN_MEMORY)),
            tasks: Tasks::default(),
        }
    }

    pub(super) fn with_signed_urls(self, signed_urls: SignedUrls) -> Self {
        Self {
            signed_urls: Some(signed_urls),
            ..self
        }
    }

    pub(super) fn signed_urls(&self) -> Option<&SignedUrls> {
        self.signed_urls.as_ref()
    }

    fn blobs(&self) -> Path {
        self.root.clone().join("blobs")
    }

    fn multiparts(&self) -> Path {
        self.root.clone().join("multiparts")
    }

    fn directs(&self) -> Path {
        self.root.clone().join("direct")
    }

    fn direct(&self, id: i64) -> Path {
        self.directs().join(id.to_string())
    }

    fn blob(&self, id: i64) -> Path {
        self.blobs().join(id.to_string())
    }

    fn multipart(&self, id: i64) -> Path {
        self.multiparts().join(id.to_string())
    }

    /// What tells this place from all others: whoever comes first gives it.
    pub(super) async fn name(&self) -> Result<String, StoreError> {
        let path = self.root.clone().join("content-name");
        if let Some(name) = self.text(&path).await? {
            return Ok(name);
        }
        let name = format!("{:032x}", rand::random::<u128>());
        let options = PutOptions::from(PutMode::Create);
        let put = self.api.put_opts(&path, name.into(), options);
        match within_timeout(put).await {
            Err(error) if error.kind() != StoreErrorKind::Conflict => return Err(error),
            _ => {}
        }
        let name = self.text(&path).await?;
        name.ok_or_else(|| StoreError::new(StoreKind::Storage, StoreErrorKind::NotFound))
    }

    /// A small object, if it is there.
    async fn text(&self, path: &Path) -> Result<Option<String>, StoreError> {
        let text = async {
            let found = self.api.get(path).await?;
            found.bytes().await
        };
        match within_timeout(text).await {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a content in one call.
    pub(super) async fn put(&self, id: i64, bytes: Bytes) -> Result<(), StoreError> {
        let path = self.blob(id);
        within_timeout(self.api.put(&path, bytes.into()))
            .await
            .map(drop)
    }

    /// Begins to read a range of a content, which is not empty.
    pub(super) async fn get(
        &self,
        id: i64,
        range: std::ops::Range<u64>,
    ) -> Result<GetResult, StoreError> {
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(range)));
        within_timeout(self.api.get_opts(&self.blob(id), options)).await
    }

    /// How many bytes a content has.
    pub(super) async fn size(&self, id: i64) -> Result<u64, StoreError> {
        let path = self.blob(id);
        Ok(within_timeout(self.api.head(&path)).await?.size)
    }

    /// Removes a content, if it is there.
    pub(super) async fn remove(&self, id: i64) -> Result<(), StoreError> {
        self.delete(&self.blob(id)).await
    }

    async fn delete(&self, path: &Path) -> Result<(), StoreError> {
        match within_timeout(self.api.delete(path)).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// A URL that reads a content, from a provider that signs URLs.
    pub(super) async fn read_url(
        &self,
        id: i64,
        ttl: Duration,
    ) -> Result<Option<SecretUrl>, StoreError> {
        match &self.signed_urls {
            Some(urls) => urls.read(&self.blob(id), ttl).await.map(Some),
            None => Ok(None),
        }
    }

    /// A URL to which a client sends what is to be a content. That is another object: nobody writes to one that was
    /// published.
    pub(super) async fn write_url(
        &self,
        id: i64,
        ttl: Duration,
    ) -> Result<Option<SecretUrl>, StoreError> {
        match &self.signed_urls {
            Some(urls) => urls.write(&self.direct(id), ttl).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes what a client has sent so the content, by a copy at the provider. Answers its size, if there is
    /// something.
    pub(super) async fn publish_direct(&self, id: i64) -> Result<Option<u64>, StoreError> {
        let (from, to) = (self.direct(id), self.blob(id));
        match within_timeout(self.api.copy(&from, &to)).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(None),
            copied => copied?,
        }
        if let Some(urls) = &self.signed_urls {
            within(urls.wait_for_copy(&to)).await?;
        }
        self.size(id).await.map(Some)
    }

    /// Removes what a client has sent so, if it can have.
    pub(super) async fn remove_direct(&self, id: i64) -> Result<(), StoreError> {
        if !self.may_have_direct() {
            return Ok(());
        }
        self.delete(&self.direct(id)).await
    }

    /// Whether clients can have sent something to the bucket themselves, now or under another setting.
    fn may_have_direct(&self) -> bool {
        let urls = self.signed_urls.as_ref();
        urls.is_some_and(|urls| urls.protocol() == DirectProtocol::Azure)
    }

    /// Begins a multipart upload, and leaves a marker of it: a provider keeps its parts, at a price, until
    /// somebody ends it.
    pub(super) async fn begin_multipart(&self, id: i64) -> Result<String, StoreError> {
        let path = self.blob(id);
        let upload = within_timeout(self.api.create_multipart(&path)).await?;
        let (marker, named) = (self.multipart(id), PutPayload::from(upload.clone()));
        if let Err(error) = within_timeout(self.api.put(&marker, named)).await {
            // Nobody would find it.
            self.abort_multipart(id, &upload).await?;
            return Err(error);
        }
        Ok(upload)
    }

    /// Sends a part; one that was sent before is replaced.
    pub(super) async fn put_part(
        &self,
        id: i64,
        upload: &String,
        index: usize,
        bytes: Bytes,
    ) -> Result<PartId, StoreError> {
        let path = self.blob(id);
        within_timeout(self.api.put_part(&path, upload, index, bytes.into())).await
    }

    /// Makes a content of `len` bytes of the parts.
    pub(super) async fn complete_multipart(
        &self,
        id: i64,
        upload: &String,
        parts: Vec<PartId>,
        len: u64,
    ) -> Result<(), StoreError> {
        let path = self.blob(id);
        let completed = within_timeout(self.api.complete_multipart(&path, upload, parts)).await;
        // A call whose answer was lost has ended the upload, and finds none when it is repeated.
        if let Err(error) = completed
            && self.size(id).await.ok() != Some(len)
        {
            return Err(error);
        }
        self.remove_marker(id).await;
        Ok(())
    }

    /// Ends a multipart upload that comes to nothing.
    pub(super) async fn abort_multipart(&self, id: i64, upload: &String) -> Result<(), StoreError> {
        let path = self.blob(id);
        match within_timeout(self.api.abort_multipart(&path, upload)).await {
            Err(error) if error.kind() != StoreErrorKind::NotFound => Err(error),
            _ => self.delete(&self.multipart(id)).await,
        }
    }

    /// Ends the multipart upload that somebody has left, if there is one.
    pub(super) async fn abort_orphaned_multipart(&self, id: i64) -> Result<(), StoreError> {
        match self.text(&self.multipart(id)).await? {
            Some(upload) => self.abort_multipart(id, &upload).await,
            None => Ok(()),
        }
    }

    async fn remove_marker(&self, id: i64) {
        if let Err(error) = self.delete(&self.multipart(id)).await {
            tracing::debug!(%error, "the marker of a multipart upload stays until its entry goes");
        }
    }

    /// The ids of all contents, and of what is on its way to become one.
    pub(super) fn ids(&self) -> BoxStream<'static, Result<i64, StoreError>> {
        let mut folders = vec![self.blobs(), self.multiparts()];
        if self.may_have_direct() {
            folders.push(self.directs());
        }
        let objects = folders
            .into_iter()
            .map(|folder| self.api.list(Some(&folder)))
            .collect::<Vec<_>>();
        stream::iter(objects)
            .flatten()
            .map_err(store_error)
            .try_filter_map(async |object| {
                let name = object.location.filename();
                Ok(name.and_then(|name| name.parse().ok()))
            })
            .boxed()
    }
}
