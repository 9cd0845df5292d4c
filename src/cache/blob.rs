//! A layer that was fetched and verified, as its readers see it.

use std::{io, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};

use super::{fetch_error::DownloadError, single_flight::SharedFuture, spool::SpoolFile};

/// Pieces in which content is read from the spool.
const PIECE_BYTES: u64 = 1 << 20;

/// The outcome of a download: a verified file.
pub(super) type Fetched = Result<Arc<SpoolFile>, DownloadError>;

/// Verified content. It stays on disk as long as a clone lives.
#[derive(Clone)]
pub struct Blob {
    size: u64,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Memory(Bytes),
    Spooled {
        file: Arc<SpoolFile>,
        /// Keeps the download in the single-flight map, so that those who ask meanwhile find the
        /// file.
        _download: SharedFuture<Fetched>,
    },
}

impl Blob {
    /// Content in memory, which has been verified.
    pub(super) fn in_memory(content: Bytes) -> Self {
        Self {
            size: content.len() as u64,
            content: Content::Memory(content),
        }
    }

    /// Content of a download that has succeeded.
    pub(super) fn spooled(
        size: u64,
        file: Arc<SpoolFile>,
        download: SharedFuture<Fetched>,
    ) -> Self {
        let content = Content::Spooled {
            file,
            _download: download,
        };
        Self { size, content }
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of `range`, cut to what is there, in pieces.
    pub fn read(&self, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        let end = range.end.min(self.size);
        let range = range.start.min(end)..end;
        let blob = self.clone();
        stream::iter(pieces(range, PIECE_BYTES))
            .then(move |piece| blob.clone().piece(piece))
            .boxed()
    }

    async fn piece(self, range: Range<u64>) -> io::Result<Bytes> {
        match &self.content {
            Content::Memory(bytes) => {
                let index = |at| usize::try_from(at).map_err(io::Error::other);
                Ok(bytes.slice(index(range.start)?..index(range.end)?))
            }
            Content::Spooled { file, .. } => file.read_at(range).await,
        }
    }
}

/// Cuts `range` into pieces of `size` bytes.
pub(super) fn pieces(range: Range<u64>, size: u64) -> impl Iterator<Item = Range<u64>> + Send {
    let size = size.max(1);
    (0..(range.end - range.start).div_ceil(size)).map(move |i| {
        let start = range.start + i * size;
        start..(start + size).min(range.end)
    })
}
