//! The bytes of an upload, in a file of their own that becomes the content's.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Folders, upload_file::UploadFile};
use crate::service::{
    blocking::run_blocking,
    store::{
        blob_store::{PartStream, Published, PutError, StagedBlob},
        error::StoreError,
        extent::{Extent, end_of_all},
        part_file::receive,
    },
};

/// The file of one upload.
#[derive(Debug)]
pub(super) struct StagedFile {
    id: i64,
    file: Arc<UploadFile>,
    folders: Arc<Folders>,
}

impl StagedFile {
    pub(super) fn new(id: i64, file: UploadFile, folders: Arc<Folders>) -> Self {
        let file = Arc::new(file);
        Self { id, file, folders }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(i64, &UploadFile, &Folders) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (id, file, folders) = (self.id, Arc::clone(&self.file), Arc::clone(&self.folders));
        run_blocking(move || work(id, &file, &folders)).await
    }
}

#[async_trait]
impl StagedBlob for StagedFile {
    async fn put(&self, len: u64, body: &mut PartStream<'_>) -> Result<Extent, PutError> {
        receive(&self.file, len, body).await
    }

    fn release(&self, extent: Extent) {
        self.file.release(extent);
    }

    async fn publish(&self, content: Vec<Extent>) -> Result<Published, StoreError> {
        self.run(move |id, file, folders| {
            file.close();
            let published = file.gather_crumbs(content).and_then(|extents| {
                file.sync()?;
                folders.publish(id)?;
                let stored = end_of_all(&extents);
                Ok(Published { extents, stored })
            });
            published.inspect_err(|_| file.reopen())
        })
        .await
    }

    async fn publish_direct(&self) -> Result<Option<Published>, StoreError> {
        Ok(None)
    }

    async fn unpublish(&self) -> Result<(), StoreError> {
        self.run(|id, file, folders| {
            let taken_back = folders.unpublish(id);
            file.reopen();
            Ok(taken_back?)
        })
        .await
    }

    async fn trim(&self, published: &Published) {
        let extents = published.extents.clone();
        let trimmed = self.run(move |_, file, _| Ok(file.trim(extents)?)).await;
        if let Err(error) = trimmed {
            tracing::debug!(%error, "bytes that nobody needs stay on the disk");
        }
    }

    async fn discard(&self) -> Result<(), StoreError> {
        self.run(|id, file, folders| {
            file.close();
            Ok(folders.discard(id)?)
        })
        .await
    }
}
