//! Content files, as streams of their bytes.

use std::{collections::VecDeque, fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};

use super::BUFFER_BYTES;
use crate::service::{
    blocking::run_blocking,
    store::{
        blob_store::BlobReader,
        error::StoreError,
        extent::{Extent, select, take},
    },
};

/// An open file and where its content lies.
#[derive(Debug)]
pub(super) struct FileReader {
    file: Arc<File>,
    extents: Vec<Extent>,
}

impl FileReader {
    pub(super) fn new(file: File, extents: Vec<Extent>) -> Self {
        let file = Arc::new(file);
        Self { file, extents }
    }
}

impl BlobReader for FileReader {
    fn stream(self: Box<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let extents = VecDeque::from(select(&self.extents, range));
        let file = self.file;
        let pieces = stream::try_unfold(extents, move |mut rest| {
            let file = Arc::clone(&file);
            async move {
                let next = take(&mut rest, BUFFER_BYTES as u64);
                if next.is_empty() {
                    return Ok(None);
                }
                Ok(Some((read(file, next).await?, rest)))
            }
        });
        pieces.boxed()
    }
}

/// Reads some extents at once: a content may consist of crumbs.
async fn read(file: Arc<File>, extents: Vec<Extent>) -> Result<Bytes, StoreError> {
    run_blocking(move || {
        let mut piece = Vec::new();
        for extent in extents {
            let (start, len) = (piece.len(), usize::try_from(extent.len));
            piece.resize(start + len.map_err(io::Error::other)?, 0);
            file.read_exact_at(&mut piece[start..], extent.offset)?;
        }
        Ok(piece.into())
    })
    .await
}
