//! What can go wrong in a store.

use std::{error::Error as StdError, io};

/// What the rules can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreErrorKind {
    /// It is not there.
    NotFound,
    /// It is there, but only so many bytes of it.
    Truncated {
        /// How many.
        stored: u64,
    },
    /// Somebody else has it.
    Conflict,
    /// What takes bytes takes no more: see [`super::StagedBlob`].
    Closed,
    /// There is no room for it.
    Full,
    /// It is larger than anything here can be.
    TooLarge,
    /// Bytes that were taken may be gone; repeating the call brings none back.
    Lost,
    /// The store cannot be reached: the same call may succeed soon.
    Unreachable,
    /// The store cannot do it, or answers with something that nobody can use.
    Unavailable,
}

/// Which of the two stores it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum StoreKind {
    /// The metadata.
    Database,
    /// The content.
    Storage,
}

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub(crate) struct StoreError {
    kind: StoreErrorKind,
    store: StoreKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// A failure that has no other cause.
    pub(crate) fn new(store: StoreKind, kind: StoreErrorKind) -> Self {
        Self {
            kind,
            store,
            source: None,
        }
    }

    /// A failure with what has caused it.
    pub(super) fn with_source(
        store: StoreKind,
        kind: StoreErrorKind,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            store,
            source: Some(source.into()),
        }
    }

    /// What the rules can do about it.
    pub(crate) fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Which of the stores it was.
    pub(crate) fn store(&self) -> StoreKind {
        self.store
    }

    /// The same failure, after which nobody can tell what is stored. A full disk stays a full disk.
    pub(super) fn into_lost(self) -> Self {
        match self.kind {
            StoreErrorKind::Full | StoreErrorKind::TooLarge => self,
            _ => Self {
                kind: StoreErrorKind::Lost,
                ..self
            },
        }
    }

    /// What has caused it, in words.
    pub(crate) fn message(&self) -> String {
        match &self.source {
            Some(source) => source.to_string(),
            None => match self.kind {
                StoreErrorKind::NotFound => "it is not there".to_owned(),
                StoreErrorKind::Truncated { stored } => format!("only {stored} bytes are there"),
                StoreErrorKind::Conflict => "somebody else has it".to_owned(),
                StoreErrorKind::Closed => "it takes no more".to_owned(),
                StoreErrorKind::Full => "there is no room for it".to_owned(),
                StoreErrorKind::TooLarge => "it is too large".to_owned(),
                StoreErrorKind::Lost => "bytes are lost".to_owned(),
                StoreErrorKind::Unreachable => "it cannot be reached".to_owned(),
                StoreErrorKind::Unavailable => "it cannot be used".to_owned(),
            },
        }
    }
}

/// Files are where content is.
impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            // Another client of a network file system has removed it.
            io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle => {
                StoreErrorKind::NotFound
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
            io::ErrorKind::FileTooLarge => StoreErrorKind::TooLarge,
            _ => StoreErrorKind::Unavailable,
        };
        Self::with_source(StoreKind::Storage, kind, error)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let failure = error.sqlite_error();
        let full = failure.is_some_and(|failure| {
            failure.code == rusqlite::ErrorCode::DiskFull
                || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
        });
        let kind = match error.sqlite_error_code() {
            _ if full => StoreErrorKind::Full,
            Some(rusqlite::ErrorCode::ConstraintViolation) => StoreErrorKind::Conflict,
            _ => StoreErrorKind::Unavailable,
        };
        Self::with_source(StoreKind::Database, kind, error)
    }
}
