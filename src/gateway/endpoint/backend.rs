//! What lies behind a handle: a cache to read from, and for a relayed export one to write to.

use std::{error::Error, io, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};

/// Why a backend could not answer, in words that BuildKit passes on to people.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(crate) struct BackendError {
    /// What the answer's status depends on.
    pub kind: ErrorKind,
    source: Box<dyn Error + Send + Sync>,
}

/// What kind of failure a [`BackendError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The key is there already.
    AlreadyExists,
    /// The request cannot be carried out as it is.
    InvalidRequest,
    /// The cache behind the gateway failed.
    Upstream,
}

impl BackendError {
    /// An error whose words are those of `source`.
    pub fn new(kind: ErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self { kind, source }
    }

    fn read_only() -> Self {
        let words = "this is the gateway's import endpoint: nothing can be written here";
        Self::new(ErrorKind::InvalidRequest, words)
    }
}

/// An entry that a lookup found.
pub(crate) struct Found {
    /// Its full key.
    pub key: String,
    /// Its content.
    pub object: Arc<dyn Object>,
}

/// The Actions cache as buildkitd sees it through one handle.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// The entry that the first matching key of `keys` names, exactly or as a prefix.
    async fn lookup(&self, keys: &[&str], version: &str) -> Result<Option<Found>, BackendError>;

    /// True if builds that share steps with the one behind the handle may read through it.
    fn is_shared(&self) -> bool {
        true
    }

    /// The build behind the handle has ended: what can be had again may be dropped. Lookups and
    /// downloads may still come, from builds that share its steps.
    fn retire(&self) {}

    /// Reserves a key; the answer is the id under which it is written.
    async fn reserve(&self, key: &str, version: &str) -> Result<i64, BackendError> {
        let _ = (key, version);
        Err(BackendError::read_only())
    }

    /// Takes the bytes of `range` of a reserved entry.
    async fn write(&self, id: i64, range: Range<u64>, body: Body) -> Result<(), BackendError> {
        let _ = (id, range, body);
        Err(BackendError::read_only())
    }

    /// Makes the entry visible; `Ok` only when the remote has confirmed it.
    async fn commit(&self, id: i64, size: u64) -> Result<(), BackendError> {
        let _ = (id, size);
        Err(BackendError::read_only())
    }
}

/// Bytes on their way in or out.
pub(crate) type Body = BoxStream<'static, io::Result<Bytes>>;

/// Content that a lookup has found.
#[async_trait]
pub(crate) trait Object: Send + Sync {
    /// Gets the content ready to be read, which for a layer means fetched and verified.
    async fn open(&self) -> Result<Box<dyn Readable>, BackendError>;
}

/// Content that is ready.
pub(crate) trait Readable: Send {
    /// Its size in bytes.
    fn size(&self) -> u64;
    /// A part of it.
    fn read(self: Box<Self>, range: Range<u64>) -> Body;
}

/// Content that is small enough to be held, such as an index.
#[async_trait]
impl Object for Bytes {
    async fn open(&self) -> Result<Box<dyn Readable>, BackendError> {
        Ok(Box::new(self.clone()))
    }
}

impl Readable for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(self: Box<Self>, range: Range<u64>) -> Body {
        // A range is checked against `size`, which came from a length that fits in memory.
        #[allow(clippy::cast_possible_truncation, reason = "see above")]
        let part = self.slice(range.start as usize..range.end as usize);
        Box::pin(stream::once(async move { Ok(part) }))
    }
}
