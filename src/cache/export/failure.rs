//! Why a layer is not in the cache.

use crate::actions;

/// Why a layer is left out of the index.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The service or the way there failed.
    #[error(transparent)]
    Remote(#[from] actions::Error),
    /// The key is reserved, but there is no entry.
    #[error(
        "another upload of it was begun and not finished; the service will take it again \
         when that reservation has expired"
    )]
    Unfinished,
    /// What the cache has of it is damaged.
    #[error("its bytes in the cache are damaged; it can be written again when they are deleted")]
    Damaged,
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
