//! The one error of the service. The rules and the surfaces make it; each protocol has one function that
//! words it as its clients expect (`error_response` in `surface/v1`, `v2`, `azure` and `rest`).

use std::borrow::Cow;

use super::{
    config::{MAX_LOOKUP_KEYS, MAX_PARTS},
    grant::Role,
    store::{StoreError, StoreErrorKind, StoreKind},
};
use crate::protocol::key::MAX_KEY_CHARS;

/// What kind of failure it is: all that a protocol's answer depends on, besides the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No token, or none that is good here now.
    Unauthenticated,
    /// A signed URL that was altered, is not ours, or has expired.
    InvalidSignature,
    /// A signed URL for another operation.
    WrongOperation,
    /// The token does not allow it.
    PermissionDenied,
    /// No such entry or reservation, as far as the caller may know.
    NotFound,
    /// The key is taken, by an entry or by an upload in progress.
    AlreadyExists,
    /// The upload is being committed, or has ended.
    Sealed,
    /// The rules do not allow such a value.
    InvalidArgument,
    /// The request cannot be read.
    Malformed,
    /// A content type that the protocol does not have.
    UnsupportedContentType,
    /// A query parameter is missing or makes no sense.
    InvalidQuery,
    /// A header makes no sense.
    InvalidHeader,
    /// A block id that is none.
    InvalidBlockId,
    /// No block list, or one that names what it must not.
    InvalidBlockList,
    /// `Content-Length` is missing.
    LengthRequired,
    /// A range outside of the blob.
    InvalidRange {
        /// How large the blob is.
        size: u64,
    },
    /// The body ended early, went on too long, stalled or broke.
    IncompleteBody,
    /// A body that is longer than one request may be.
    BodyTooLarge,
    /// More bytes than an upload can have.
    UploadTooLarge,
    /// More parts than an upload can have.
    TooManyParts,
    /// As many uploads as the service has room for.
    TooManyUploads,
    /// A repository or a scope has its share of something.
    QuotaExceeded,
    /// A repository has had its requests of this minute.
    RateLimited {
        /// After how many seconds the next one is answered.
        seconds: u64,
    },
    /// More bytes than all entries, or all of a repository, may have.
    EntryTooLarge,
    /// Entries take all that they may, and none could be evicted yet.
    NoRoom,
    /// There is no place for another request.
    Overloaded,
    /// What the service stands on cannot be reached now.
    Unavailable,
    /// No space is left for this.
    StorageFull,
    /// The storage failed to keep bytes that it had taken.
    DataLost,
    /// The storage or the database failed.
    Internal,
}

/// Why the service does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<StoreError>,
}

impl ApiError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What has caused it, in words that are the operator's and not the client's to read.
    pub(super) fn cause(&self) -> Option<String> {
        self.source.as_ref().map(StoreError::message)
    }

    /// True if the upload that it happened to can come to nothing any more.
    pub(super) fn ends_upload(&self) -> bool {
        let kinds = [
            ErrorKind::StorageFull,
            ErrorKind::EntryTooLarge,
            ErrorKind::DataLost,
        ];
        kinds.contains(&self.kind)
    }

    /// True if it is no fault of the client's, and says what only the operator should read.
    pub(super) fn is_internal(&self) -> bool {
        matches!(self.kind, ErrorKind::Internal | ErrorKind::DataLost)
    }
}

/// The failures that the rules know, each with the words that clients read.
impl ApiError {
    pub(super) fn not_found() -> Self {
        Self::new(ErrorKind::NotFound, "no such cache entry")
    }

    pub(super) fn already_exists() -> Self {
        Self::new(ErrorKind::AlreadyExists, "cache entry already exists")
    }

    pub(super) fn read_only() -> Self {
        let message = "cache write denied: the token has no scope with write permission";
        Self::new(ErrorKind::PermissionDenied, message)
    }

    pub(super) fn deletion_denied() -> Self {
        let message = "cache deletion denied: the token may not delete in this scope (one with `REF=rwd` or the role \
             prune may)";
        Self::new(ErrorKind::PermissionDenied, message)
    }

    pub(super) fn no_cache_token() -> Self {
        let message = "cache access denied: an administrator's token opens no cache; builds need one with scopes \
             (buildkit-gha token --scope REF=rw)";
        Self::new(ErrorKind::PermissionDenied, message)
    }

    pub(super) fn needs_administrator() -> Self {
        let message = "only an administrator's token opens this page (buildkit-gha token --role read), and this is one of \
             a build";
        Self::new(ErrorKind::PermissionDenied, message)
    }

    pub(super) fn role_needed(own: Role, needed: Role) -> Self {
        let message = format!(
            "the token's role is {own}, and this needs the role {needed} (buildkit-gha token --role {needed})"
        );
        Self::new(ErrorKind::PermissionDenied, message)
    }

    pub(super) fn invalid_key() -> Self {
        let message = format!("a key must have 1 to {MAX_KEY_CHARS} characters and no comma");
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(super) fn invalid_version() -> Self {
        let message = format!("a version must have 1 to {MAX_KEY_CHARS} characters");
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(super) fn key_count() -> Self {
        let message = format!("a lookup must have 1 to {MAX_LOOKUP_KEYS} keys");
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(super) fn size_mismatch(said: u64, uploaded: u64) -> Self {
        let message = format!(
            "the size of the entry was said to be {said} bytes, but {uploaded} were uploaded"
        );
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(super) fn nothing_uploaded() -> Self {
        let message = "nothing was uploaded for this key: a blob or a block list must come first";
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(super) fn gap(offset: u64) -> Self {
        let message = format!("the bytes from {offset} on were not uploaded");
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(super) fn overlap() -> Self {
        let message = "the range overlaps one that was uploaded before";
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(super) fn sealed() -> Self {
        let message = "the upload is being committed, or has ended";
        Self::new(ErrorKind::Sealed, message)
    }

    pub(super) fn unknown_block() -> Self {
        let message = "the block list names a block that was not uploaded";
        Self::new(ErrorKind::InvalidBlockList, message)
    }

    pub(super) fn repeated_block() -> Self {
        let message = "the block list names a block more than once";
        Self::new(ErrorKind::InvalidBlockList, message)
    }

    pub(super) fn too_many_parts() -> Self {
        let message = format!("an upload may have at most {MAX_PARTS} parts");
        Self::new(ErrorKind::TooManyParts, message)
    }

    pub(super) fn too_many_uploads() -> Self {
        let message =
            "as many uploads are in progress as the service has room for; try again later";
        Self::new(ErrorKind::TooManyUploads, message)
    }

    pub(super) fn quota_exceeded(what: &str, limit: u64) -> Self {
        let message = format!(
            "this repository or scope has {limit} {what} under way, which is all that it may; \
             try again later"
        );
        Self::new(ErrorKind::QuotaExceeded, message)
    }

    /// In GitHub's words, which people look for.
    pub(super) fn entry_too_large(limit: u64) -> Self {
        let message = format!(
            "The cache filesize must be between 0 and {limit} bytes: the cache service keeps no more \
             (--max-size, --max-repository-size)"
        );
        Self::new(ErrorKind::EntryTooLarge, message)
    }

    pub(super) fn no_room() -> Self {
        let message = "the entries of the cache service take all that they may, and none could be \
             evicted in time; try again later";
        Self::new(ErrorKind::NoRoom, message)
    }

    pub(super) fn overloaded() -> Self {
        let message = "the cache service has no place for another request; try again later";
        Self::new(ErrorKind::Overloaded, message)
    }

    pub(super) fn ending() -> Self {
        let message =
            "this cache service is about to end, and takes no new uploads; try again later";
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(super) fn replica_unavailable() -> Self {
        let message = "the replica that takes this upload cannot be reached; try again later";
        Self::new(ErrorKind::Unavailable, message)
    }

    fn unavailable(error: StoreError) -> Self {
        let message = match error.store() {
            StoreKind::Database => "the cache service cannot reach its database; try again later",
            StoreKind::Storage => "the cache service cannot reach its storage; try again later",
        };
        Self {
            source: Some(error),
            ..Self::new(ErrorKind::Unavailable, message)
        }
    }

    pub(super) fn long_message(limit: usize) -> Self {
        let message = format!("the request's body has more than {limit} bytes");
        Self::new(ErrorKind::BodyTooLarge, message)
    }

    pub(super) fn body(reason: &str) -> Self {
        let message = format!("the request's body could not be read: {reason}");
        Self::new(ErrorKind::IncompleteBody, message)
    }

    pub(super) fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }
}

/// A failure of a store that the rules have no other answer to.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        use StoreErrorKind as Store;
        let (kind, message) = match error.kind() {
            Store::Closed => return Self::sealed(),
            Store::Unreachable => return Self::unavailable(error),
            Store::TooLarge => (
                ErrorKind::UploadTooLarge,
                "the upload is too large".to_owned(),
            ),
            Store::Full => (
                ErrorKind::StorageFull,
                "the disk of the cache service is full; delete entries or give it more space"
                    .to_owned(),
            ),
            Store::Lost => (
                ErrorKind::DataLost,
                format!(
                    "the disk of the cache service lost bytes of the upload, which is given up: \
                     {error}"
                ),
            ),
            Store::NotFound | Store::Truncated { .. } | Store::Conflict | Store::Unavailable => {
                let store = match error.store() {
                    StoreKind::Database => "database",
                    StoreKind::Storage => "storage",
                };
                let message = format!("the service's {store} failed: {error}");
                (ErrorKind::Internal, message)
            }
        };
        Self {
            kind,
            message: message.into(),
            source: Some(error),
        }
    }
}

/// A failure of the machine, outside of any store.
impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        StoreError::from(error).into()
    }
}
