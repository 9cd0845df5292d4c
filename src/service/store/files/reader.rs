//! Content files, as streams of their bytes.

use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::service::{
    blocking::run_blocking,
    store::{
        blob_store::ContentStream,
        error::StoreError,
        extent::{Extent, take},
        part_file::BUFFER_BYTES,
    },
};

/// The bytes of `extents`.
pub(super) fn stream(file: File, extents: Vec<Extent>) -> ContentStream {
    let file = Arc::new(file);
    let pieces = stream::try_unfold(VecDeque::from(extents), move |mut rest| {
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
