//! A layer that was fetched and verified, as its readers see it.

use std::{fmt, io, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};

use super::{single_flight::SharedFuture, spool::SpoolFile};
use crate::{actions, digest::Digest};

/// Pieces in which content is read from the spool.
const PIECE_BYTES: u64 = 1 << 20;

/// Why a layer cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// It is not in the cache (any more).
    #[error("{0} is not in the cache")]
    NotFound(Digest),
    /// What the cache has is damaged.
    #[error(
        "{digest} is damaged in the cache (entry {key}): it was fetched twice, and {reason}; \
         {repair}{advice}"
    )]
    Damaged {
        /// The layer.
        digest: Digest,
        /// The entry's full key.
        key: String,
        /// What is wrong with its bytes.
        reason: String,
        /// What was done about it.
        repair: Repair,
        /// What else can be done.
        advice: Remedy,
    },
    /// The service failed.
    #[error(
        "{digest} could not be fetched: {error}; the next build here makes this step anew{advice}"
    )]
    Remote {
        /// The layer.
        digest: Digest,
        /// In the service's own words.
        error: actions::Error,
        /// What else can be done.
        advice: Remedy,
    },
    /// The disk failed, or there was no room in time.
    #[error("{digest} could not be fetched: {reason}")]
    Spool {
        /// The layer.
        digest: Digest,
        /// What happened.
        reason: String,
    },
}

/// What a user can do so that no build relies on a layer that cannot be had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing more: the import verifies layers already.
    #[default]
    Nothing,
    /// To let the import verify them.
    Verify,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Verify => f.write_str(
                "; import-verify=full on the import fetches and verifies layers before a build relies \
                 on them",
            ),
        }
    }
}

impl FetchError {
    /// Says what else can be done.
    pub(super) fn advise(&mut self, what: Remedy) {
        match self {
            Self::Damaged { advice, .. } | Self::Remote { advice, .. } => *advice = what,
            Self::NotFound(_) | Self::Spool { .. } => {}
        }
    }
}

/// What was done about a damaged entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// It was deleted from the cache.
    Deleted,
    /// A new index was written that does not name it.
    LeftOut,
    /// Another scope's index names it, which this token may not write; the index that it may write
    /// says that the entry is damaged.
    Named,
    /// This process does not use it again, and could do nothing more.
    Denied,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deleted => {
                "the entry was deleted, so the next build makes the step of this layer anew"
            }
            Self::LeftOut => {
                "the cache index was written again without it, so the next build makes the step \
                 of this layer anew"
            }
            Self::Named => {
                "this branch's own cache index now says so, so its next build makes the step of this \
                 layer anew; other branches do when the entry has been deleted or a build of the \
                 branch that owns it has replaced it"
            }
            Self::Denied => {
                "the next build on this builder makes the step of this layer anew, and one on a \
                 new builder does when the entry has been deleted"
            }
        })
    }
}

/// What a fetch comes to.
pub(super) type Fetched = Result<Arc<SpoolFile>, FetchError>;

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
        /// Lets those who ask meanwhile find the file.
        _flight: SharedFuture<Fetched>,
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

    /// Content of a flight that has landed well.
    pub(super) fn spooled(size: u64, file: Arc<SpoolFile>, flight: SharedFuture<Fetched>) -> Self {
        let content = Content::Spooled {
            file,
            _flight: flight,
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
