//! Why a layer is not in the cache.

use crate::actions;

/// Why a layer is left out of the index.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The service or the way there failed.
    #[error(transparent)]
    Remote(#[from] actions::Error),
    /// All keys that it may have are reserved, and there is no entry.
    #[error(
        "uploads of it were begun and not finished, under this key and all that may stand for it; \
         the service will take it again when one of these reservations has expired"
    )]
    Unfinished,
    /// The build stopped writing it.
    #[error("the build stopped writing it")]
    Interrupted,
    /// The time of the export was over.
    #[error("it was not uploaded within the export's timeout (the attribute timeout=)")]
    Late,
    /// There was no room on disk, or the disk failed.
    #[error("{0}")]
    Spool(String),
    /// More layers than an export may have.
    #[error("the export has too many layers")]
    TooMany,
}
