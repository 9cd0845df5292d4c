//! Bodies into files and files into bodies, in bounded memory and off the async threads.

use std::{collections::VecDeque, fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt as _;

use super::{
    Service,
    api_error::ApiError,
    extent::{Extent, select, take},
    upload::PendingPart,
    upload_file::UploadFile,
};

/// How much of a body is held in memory on its way to or from the disk: large enough that the switch
/// to a blocking thread does not count, small enough for a thousand transfers at once.
const BUFFER_BYTES: usize = 256 << 10;

impl Service {
    /// Writes a body of exactly the length of `part` to its place in its upload, which is given up when
    /// the disk has no room for it or loses it.
    pub(super) async fn receive(&self, body: Body, part: &PendingPart) -> Result<(), ApiError> {
        let received = self
            .write_body(body, part.upload().file(), part.extent())
            .await;
        if received.as_ref().is_err_and(ApiError::ends_upload) {
            let upload = Arc::clone(part.upload());
            self.blocking(move |entries| {
                entries.give_up(&upload);
                Ok(())
            })
            .await?;
        }
        received
    }

    async fn write_body(
        &self,
        mut body: Body,
        file: &Arc<UploadFile>,
        extent: Extent,
    ) -> Result<(), ApiError> {
        // It grows with what comes: who sends little holds little.
        let mut buffer = BytesMut::new();
        let mut written = 0;
        while let Some(frame) = next_frame(&mut body).await? {
            if written + buffer.len() as u64 + frame.len() as u64 > extent.len {
                return Err(ApiError::body(&format!(
                    "it has more than {} bytes",
                    extent.len
                )));
            }
            self.metrics().received(frame.len() as u64);
            buffer.extend_from_slice(&frame);
            if buffer.len() >= BUFFER_BYTES {
                let len = buffer.len() as u64;
                buffer = write(file, extent.offset + written, buffer).await?;
                written += len;
            }
        }
        let len = written + buffer.len() as u64;
        if len != extent.len {
            let expected = extent.len;
            return Err(ApiError::body(&format!(
                "it has {len} bytes instead of {expected}"
            )));
        }
        write(file, extent.offset + written, buffer).await?;
        Ok(())
    }

    /// A body with the bytes of `range` of the content that lies in `extents`.
    pub(super) fn send(&self, file: File, extents: &[Extent], range: Range<u64>) -> Body {
        let file = Arc::new(file);
        let extents = VecDeque::from(select(extents, range));
        let service = self.clone();
        let pieces = stream::try_unfold(extents, move |mut rest| {
            let (file, service) = (Arc::clone(&file), service.clone());
            async move {
                let next = take(&mut rest, BUFFER_BYTES as u64);
                if next.is_empty() {
                    return Ok::<_, io::Error>(None);
                }
                let piece = read(file, next).await.inspect_err(|error| {
                    tracing::warn!(%error, "content cannot be read; its download is cut off");
                })?;
                service.metrics().sent(piece.len() as u64);
                Ok(Some((piece, rest)))
            }
        });
        Body::from_stream(pieces)
    }
}

/// The next bytes of a body.
pub(super) async fn next_frame(body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(ApiError::body(&error.to_string())),
            // Trailers carry nothing for us.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Writes the buffer and gives it back empty.
async fn write(
    file: &Arc<UploadFile>,
    offset: u64,
    mut buffer: BytesMut,
) -> Result<BytesMut, ApiError> {
    let file = Arc::clone(file);
    blocking(move || {
        file.write_at(&buffer, offset)?;
        buffer.clear();
        Ok(buffer)
    })
    .await
}

/// Reads some extents at once: a content may consist of crumbs.
async fn read(file: Arc<File>, extents: Vec<Extent>) -> io::Result<Bytes> {
    blocking(move || {
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

async fn blocking<T: Send + 'static, E: From<io::Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
