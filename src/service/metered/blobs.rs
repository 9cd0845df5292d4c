//! The store of the content.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};

use super::metered;
use crate::{
    secret::SecretUrl,
    service::{
        engine_metrics::EngineMetrics,
        store::{
            BlobStore, ContentStream, DirectProtocol, Extent, PartStream, Published, PutError,
            StagedBlob, StoreError, StoreKind,
        },
    },
};

/// Contents whose calls are timed.
#[derive(Debug)]
pub(super) struct MeteredBlobs {
    inner: Arc<dyn BlobStore>,
    metrics: EngineMetrics,
}

impl MeteredBlobs {
    pub(super) fn new(inner: Arc<dyn BlobStore>, metrics: EngineMetrics) -> Self {
        Self { inner, metrics }
    }
}

metered! {
    impl BlobStore for MeteredBlobs as Storage;
    async fn check(&self, id: i64, stored: u64) -> ();
    async fn direct_read(&self, id: i64, content: &Published, ttl: Duration) -> Option<SecretUrl>;
    async fn direct_upload(&self, id: i64, ttl: Duration) -> Option<SecretUrl>;
    async fn remove(&self, id: i64) -> ();
    plain {
        async fn stage(&self, id: i64) -> Result<Arc<dyn StagedBlob>, StoreError> {
            let call = self.metrics.begin(StoreKind::Storage, "stage");
            let inner = call.end(self.inner.stage(id).await)?;
            let metrics = self.metrics.clone();
            Ok(Arc::new(MeteredUpload { inner, metrics }))
        }

        /// What breaks off later is counted, too.
        async fn open(
            &self,
            id: i64,
            content: Published,
            range: Range<u64>,
        ) -> Result<ContentStream, StoreError> {
            let call = self.metrics.begin(StoreKind::Storage, "open");
            let pieces = call.end(self.inner.open(id, content, range).await)?;
            let metrics = self.metrics.clone();
            let failed = move |error: &StoreError| metrics.failed(StoreKind::Storage, error);
            Ok(pieces.inspect_err(failed).boxed())
        }

        fn direct_protocol(&self) -> Option<DirectProtocol> {
            self.inner.direct_protocol()
        }

        fn ids(&self) -> BoxStream<'_, Result<i64, StoreError>> {
            let failed = |error: &StoreError| self.metrics.failed(StoreKind::Storage, error);
            self.inner.ids().inspect_err(failed).boxed()
        }
    }
}

/// An upload whose calls are timed.
#[derive(Debug)]
struct MeteredUpload {
    inner: Arc<dyn StagedBlob>,
    metrics: EngineMetrics,
}

metered! {
    impl StagedBlob for MeteredUpload as Storage;
    async fn publish(&self, content: Vec<Extent>) -> Published;
    async fn publish_direct(&self) -> Option<Published>;
    async fn unpublish(&self) -> ();
    async fn discard(&self) -> ();
    plain {
        /// Takes as long as its client, so it is not timed.
        async fn put(&self, len: u64, body: &mut PartStream<'_>) -> Result<Extent, PutError> {
            let put = self.inner.put(len, body).await;
            if let Err(PutError::Store(error)) = &put {
                self.metrics.failed(StoreKind::Storage, error);
            }
            put
        }

        fn release(&self, extent: Extent) {
            self.inner.release(extent);
        }

        async fn trim(&self, published: &Published) {
            self.inner.trim(published).await;
        }
    }
}
