//! The bytes of an upload, in a file of their own.
//!
//! Every part gets an extent of its own at the end of the file, whatever its order: parts may come in
//! parallel, out of order and twice, and none ever overwrites another.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::StreamExt as _;

use super::{BUFFER_BYTES, Folders, upload_file::UploadFile};
use crate::service::{
    blocking::run_blocking,
    store::{
        blob_store::{PartStream, Published, PutError, StagedBlob},
        error::StoreError,
        extent::{Extent, end_of_all},
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
        let part = UnfinishedPart::begin(&self.file, len)?;
        // It grows with what comes: who sends little holds little.
        let mut buffer = BytesMut::new();
        let mut offset = part.extent.offset;
        while let Some(piece) = body.next().await {
            buffer.extend_from_slice(&piece.map_err(PutError::Body)?);
            if buffer.len() >= BUFFER_BYTES {
                let len = buffer.len() as u64;
                buffer = write(&self.file, offset, buffer).await?;
                offset += len;
            }
        }
        write(&self.file, offset, buffer).await?;
        Ok(part.finish())
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

/// The place of a part whose bytes are on their way; given back unless they have all come.
struct UnfinishedPart<'a> {
    file: &'a UploadFile,
    extent: Extent,
    finished: bool,
}

impl<'a> UnfinishedPart<'a> {
    fn begin(file: &'a UploadFile, len: u64) -> Result<Self, StoreError> {
        Ok(Self {
            extent: file.allocate(len)?,
            file,
            finished: false,
        })
    }

    fn finish(mut self) -> Extent {
        self.finished = true;
        self.extent
    }
}

impl Drop for UnfinishedPart<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.file.release(self.extent);
        }
    }
}

/// Writes the buffer and gives it back empty.
async fn write(
    file: &Arc<UploadFile>,
    offset: u64,
    mut buffer: BytesMut,
) -> Result<BytesMut, StoreError> {
    let file = Arc::clone(file);
    run_blocking(move || {
        file.write_at(&buffer, offset)?;
        buffer.clear();
        Ok(buffer)
    })
    .await
}
