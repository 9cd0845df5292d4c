//! What can go wrong inside the service. Each surface has one function that turns this into its own
//! protocol's answer.

use super::config::MAX_PARTS;
use crate::protocol::key::MAX_KEY_CHARS;

/// Why the service does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key that no entry can have.
    #[error("a key must have 1 to {MAX_KEY_CHARS} characters and no comma")]
    InvalidKey,
    /// A version that no entry can have.
    #[error("a version must have 1 to {MAX_KEY_CHARS} characters")]
    InvalidVersion,
    /// Too few or too many keys in a lookup.
    #[error("a lookup must have 1 to {} keys", super::config::MAX_LOOKUP_KEYS)]
    KeyCount,
    /// The key is taken, by an entry or by an upload in progress.
    #[error("cache entry already exists")]
    Exists,
    /// The token has no scope with write permission.
    #[error("cache write denied: the token has no scope with write permission")]
    ReadOnly,
    /// The token may not delete what it names.
    #[error("cache deletion denied: the token may not delete in this scope (`REF=rwd` may)")]
    NotDeletable,
    /// No such entry or reservation, as far as the caller may know.
    #[error("no such cache entry")]
    NotFound,
    /// The upload is being committed.
    #[error("the upload is being committed, or has ended")]
    Sealed,
    /// The size that was said is not the size that was uploaded.
    #[error("the size of the entry was said to be {said} bytes, but {uploaded} were uploaded")]
    Size {
        /// What the commit said.
        said: u64,
        /// What had come in.
        uploaded: u64,
    },
    /// Some bytes were never uploaded.
    #[error("the bytes from {offset} on were not uploaded")]
    Gap {
        /// The first that is missing.
        offset: u64,
    },
    /// A part overlaps another one.
    #[error("the range overlaps one that was uploaded before")]
    Overlap,
    /// A block list names a block that was not uploaded.
    #[error("the block list names a block that was not uploaded")]
    UnknownBlock,
    /// Too many parts.
    #[error("an upload may have at most {MAX_PARTS} parts")]
    TooManyParts,
    /// More bytes than can be numbered.
    #[error("the upload is too large")]
    TooLarge,
    /// Too many reservations.
    #[error("as many uploads are in progress as the service has room for; try again later")]
    TooManyUploads,
    /// A repository or a scope has its share of something.
    #[error(
        "this repository or scope has {limit} {what} under way, which is all that it may; try again later"
    )]
    Busy {
        /// Of what.
        what: &'static str,
        /// How much it may have.
        limit: u64,
    },
    /// All places for connections are taken by requests of others.
    #[error("the cache service has no place for another request; try again later")]
    Crowded,
    /// A block list names a block twice.
    #[error("the block list names a block more than once")]
    RepeatedBlock,
    /// A message or a block list that is too long.
    #[error("the request's body has more than {0} bytes")]
    LongMessage(usize),
    /// The body ended early, went on too long, stalled or broke.
    #[error("the request's body could not be read: {0}")]
    Body(String),
    /// No space is left for this.
    #[error("the disk of the cache service is full; delete entries or give it more space")]
    Full,
    /// The disk failed to keep bytes that it had taken.
    #[error("the disk of the cache service lost bytes of the upload, which is given up: {0}")]
    Unsynced(std::io::Error),
    /// The disk failed us.
    #[error("the service's storage failed: {0}")]
    Io(std::io::Error),
    /// The database failed us.
    #[error("the service's database failed: {0}")]
    Db(rusqlite::Error),
}

impl Error {
    /// True if the upload that it happened to can come to nothing any more.
    pub(super) fn ends_upload(&self) -> bool {
        matches!(self, Self::Full | Self::Unsynced(_))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            ErrorKind::FileTooLarge => Self::TooLarge,
            _ => Self::Io(error),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let failure = error.sqlite_error();
        let full = failure.is_some_and(|failure| {
            failure.code == rusqlite::ErrorCode::DiskFull
                || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
        });
        if full { Self::Full } else { Self::Db(error) }
    }
}
