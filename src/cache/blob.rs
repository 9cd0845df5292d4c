//! A layer on its way in: parallel ranges into the spool, verified before a byte is served.

use std::{io, ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use tokio::time::Instant;

use super::{
    Shared,
    flight::Flight,
    report::{Bar, Reporter},
    spool::{SpoolFile, blocking},
};
use crate::{
    actions::{self, Client, Entry, Kind},
    digest::{Digest, Hasher},
};

/// Content that does not match its digest is fetched so often in all: a fault on the way is gone
/// the second time, damage in the cache is not.
const FETCHES: usize = 2;

/// A range whose body is cut is asked for so often in all. Asking has retries of its own.
const RANGE_ATTEMPTS: usize = 4;

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
        "{0} is damaged in the cache: its bytes were fetched twice and are not what its name \
         says; the next build will make this step anew"
    )]
    Damaged(Digest),
    /// The service failed.
    #[error("{digest} could not be fetched: {error}")]
    Remote {
        /// The layer.
        digest: Digest,
        /// In the service's own words.
        error: actions::Error,
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
        _flight: Flight<Fetched>,
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
    pub(super) fn spooled(size: u64, file: Arc<SpoolFile>, flight: Flight<Fetched>) -> Self {
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

/// A layer to be fetched.
pub(super) struct Fetch {
    pub cache: Arc<Shared>,
    pub client: Client,
    pub reporter: Arc<dyn Reporter>,
    pub entry: Entry,
    pub digest: Digest,
    pub size: u64,
    /// When it has failed.
    pub deadline: Instant,
}

impl Fetch {
    /// Fetches, verifies, and once more if the bytes are wrong.
    pub async fn run(self) -> Fetched {
        let room = self.cache.imports.create(self.size);
        let file = match tokio::time::timeout_at(self.deadline, room).await {
            Ok(file) => file.map_err(|e| self.spool_failed(&e))?,
            Err(_) => return Err(self.spool_failed(&"there was no room in the spool in time")),
        };
        for _ in 0..FETCHES {
            let written = self.download(&file).await?;
            if written == self.digest {
                return Ok(Arc::new(file));
            }
            tracing::warn!(digest = %self.digest, %written, "a fetched layer is damaged");
        }
        let identity = self.client.identity();
        self.cache.damaged.note(identity, self.digest);
        self.cache.proofs.revoke(identity, self.digest);
        Err(FetchError::Damaged(self.digest))
    }

    /// Fetches everything into `file`; the answer is the digest of what came.
    async fn download(&self, file: &SpoolFile) -> Result<Digest, FetchError> {
        let settings = &self.cache.settings;
        let bar = Bar::new(&self.reporter, "fetching", self.digest, self.size);
        let mut ranges = stream::iter(pieces(0..self.size, settings.range_bytes))
            .map(|range| self.range(range))
            .buffered(settings.ranges_per_fetch.max(1));
        let mut hasher = Hasher::default();
        let mut offset = 0;
        while let Some((bytes, _permit)) = ranges.try_next().await? {
            let end = offset + bytes.len() as u64;
            file.write_at(offset, bytes.clone())
                .await
                .map_err(|e| self.spool_failed(&e))?;
            hasher = blocking(move || {
                hasher.update(&bytes);
                Ok(hasher)
            })
            .await
            .map_err(|e| self.spool_failed(&e))?;
            offset = end;
            bar.reached(offset);
        }
        bar.done();
        Ok(hasher.finish())
    }

    /// One range, whole, and the permit for its memory.
    async fn range(
        &self,
        range: Range<u64>,
    ) -> Result<(Bytes, tokio::sync::SemaphorePermit<'_>), FetchError> {
        let permit = self
            .cache
            .ranges
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let mut attempt = 1;
        loop {
            match self.attempt(range.clone()).await {
                Ok(bytes) => return Ok((bytes, permit)),
                // Cut or stalled: the next one has another connection, and if it stalled another URL.
                Err(e) if passes(&e.kind) && attempt < RANGE_ATTEMPTS => attempt += 1,
                Err(error) => {
                    return Err(FetchError::Remote {
                        digest: self.digest,
                        error,
                    });
                }
            }
        }
    }

    async fn attempt(&self, range: Range<u64>) -> Result<Bytes, actions::Error> {
        let length = usize::try_from(range.end - range.start).unwrap_or(0);
        let mut bytes = BytesMut::with_capacity(length);
        let mut body = self.client.read(&self.entry, range).await?;
        while let Some(chunk) = body.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    fn spool_failed(&self, reason: &dyn std::fmt::Display) -> FetchError {
        FetchError::Spool {
            digest: self.digest,
            reason: reason.to_string(),
        }
    }

    /// As a future that can be shared.
    pub fn boxed(self) -> futures_util::future::BoxFuture<'static, Fetched> {
        self.run().boxed()
    }
}

/// True for a body that another try may bring whole.
fn passes(kind: &Kind) -> bool {
    matches!(kind, Kind::Transport | Kind::Timeout)
}

/// Cuts `range` into pieces of `size` bytes.
fn pieces(range: Range<u64>, size: u64) -> impl Iterator<Item = Range<u64>> + Send {
    let size = size.max(1);
    (0..(range.end - range.start).div_ceil(size)).map(move |i| {
        let start = range.start + i * size;
        start..(start + size).min(range.end)
    })
}
