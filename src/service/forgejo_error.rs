//! Why a job of Forgejo is refused.

use jiff::Timestamp;

/// Why a job of Forgejo is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ForgejoError {
    /// The secrets differ, or a header was altered.
    #[error(
        "Forgejo-Cache-MAC does not match: the secret of serve --forgejo-secret-file must be cache.secret of the runner"
    )]
    Mac,
    /// The runner has signed what is of no use.
    #[error("the header {0} is not of the form that Forgejo's runner writes")]
    Header(&'static str),
    /// Its job has ended long since.
    #[error("the job began at {0}, more than a day ago (Forgejo-Cache-Timestamp)")]
    Expired(Timestamp),
    /// Its job has not begun.
    #[error(
        "the job begins at {0} (Forgejo-Cache-Timestamp): compare the clocks of runner and service"
    )]
    NotYet(Timestamp),
}
