//! Why a migration has not come to its end, in words for whoever has started it.

use std::fmt;

use super::report::Moved;
use crate::service::{open_error::OpenError, store::StoreError};

/// Which side of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideRole {
    /// Where entries come from.
    Source,
    /// Where they go.
    Target,
}

impl fmt::Display for SideRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// Why a migration has failed. Nothing of the source is changed, and what the target has by then stays there.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Nothing can be moved from a place to itself.
    #[error("source and target have the same {0}: give the target one of its own")]
    Same(&'static str),
    /// No service has been there.
    #[error("the source has no entries: {0}")]
    NoService(String),
    /// A side cannot be opened.
    #[error("the {0} cannot be opened: {1}")]
    Open(SideRole, OpenError),
    /// A service would change a side meanwhile.
    #[error(
        "a service uses the database of the {0}, or has been killed less than a minute ago: stop all that use it, \
         and try again in a minute"
    )]
    InUse(SideRole),
    /// Tokens of the source would not be good at the target.
    #[error(
        "the target has a secret of its own, with which tokens of the source are not good: take a target that no service \
         has used, or that of an earlier run"
    )]
    OtherSecret,
    /// The target has something that the next service would remove.
    #[error(
        "the target has entries or content already, which are not of an earlier run: take an empty place"
    )]
    NotEmpty,
    /// A side has failed.
    #[error("the {role} has failed{}: {message}; run it again to go on", about(.key.as_deref()))]
    Store {
        /// Which side.
        role: SideRole,
        /// The key of the entry that was being copied.
        key: Option<String>,
        /// What happened.
        message: String,
    },
    /// What was written is something else than what was read.
    #[error(
        "what the target gives back of {key:?} is not what was written: its storage is damaged. The entry is left out; \
         run it again once that is mended"
    )]
    Damaged {
        /// The key of the entry.
        key: String,
    },
    /// Somebody has made entries at the target.
    #[error(
        "the target has another entry named {key:?}: a service has been used there meanwhile. Go on with that \
         one, or take an empty place"
    )]
    Taken {
        /// The key of the entry.
        key: String,
    },
    /// Somebody has changed the source.
    #[error("the source has changed meanwhile: stop all that use it, and run it again")]
    SourceChanged,
    /// The target has not what it should have.
    #[error(
        "the target has {} entries with {} bytes and should have {} with {}: a service has been used there meanwhile",
        found.entries, found.bytes, expected.entries, expected.bytes
    )]
    Differs {
        /// What was moved.
        expected: Moved,
        /// What is there.
        found: Moved,
    },
    /// A part of this program has failed.
    #[error("a copy has ended: {0}")]
    Task(String),
    /// There is no place for files on their way.
    #[error("no temporary directory can be made: {0}")]
    Temporary(std::io::Error),
}

/// What was being copied.
fn about(key: Option<&str>) -> String {
    key.map(|key| format!(" at {key:?}")).unwrap_or_default()
}

/// Makes failures of a side's stores those of a migration.
pub(super) fn store_error(role: SideRole) -> impl Fn(StoreError) -> MigrationError {
    move |error| MigrationError::Store {
        role,
        key: None,
        message: error.message(),
    }
}
