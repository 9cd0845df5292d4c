//! Why a layer cannot be had, for the code that decides what to do about it and for people.

use std::{fmt, sync::Arc};

use super::spool::SpoolError;
use crate::{actions, digest::Digest};

/// Why a layer cannot be had, what was done about it, and what else can be done.
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
        #[source]
        reason: Damage,
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
        #[source]
        error: actions::Error,
        /// What else can be done.
        advice: Remedy,
    },
    /// The disk failed, or there was no room in time.
    #[error("{digest} could not be fetched: {error}")]
    Spool {
        /// The layer.
        digest: Digest,
        /// What happened.
        #[source]
        error: Arc<SpoolError>,
    },
}

impl FetchError {
    /// What the failed download of `digest` is to its build, after `repair`.
    pub(super) fn new(
        digest: Digest,
        error: DownloadError,
        repair: Repair,
        advice: Remedy,
    ) -> Self {
        match error {
            DownloadError::NotFound => Self::NotFound(digest),
            DownloadError::Damaged { key, reason } => Self::Damaged {
                digest,
                key,
                reason,
                repair,
                advice,
            },
            DownloadError::Remote(error) => Self::Remote {
                digest,
                error,
                advice,
            },
            DownloadError::Spool(error) => Self::Spool { digest, error },
        }
    }
}

/// Why a download failed. It is the same for all who share the download; each import makes a
/// [`FetchError`] of it.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum DownloadError {
    /// The entry is gone.
    #[error("it is not in the cache")]
    NotFound,
    /// The entry is there, and not what its key says.
    #[error("its entry {key} is damaged: {reason}")]
    Damaged {
        key: String,
        #[source]
        reason: Damage,
    },
    /// The service failed, and nothing is known of the entry.
    #[error(transparent)]
    Remote(#[from] actions::Error),
    #[error(transparent)]
    Spool(Arc<SpoolError>),
}

impl From<SpoolError> for DownloadError {
    fn from(error: SpoolError) -> Self {
        Self::Spool(Arc::new(error))
    }
}

/// What is wrong with the bytes of an entry.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Damage {
    /// They are something else.
    #[error("its bytes are those of {0}")]
    OtherContent(Digest),
    /// The service answers for the entry, and not with its bytes.
    #[error(transparent)]
    NoContent(actions::Error),
}

/// What a user can do so that no build relies on a layer that cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing more: the import verifies layers already.
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
