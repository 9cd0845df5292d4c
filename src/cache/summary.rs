//! What a job has come to, in figures: for the build's log, its records and its summary.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::actions::Hold;

/// What an export has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSummary {
    /// The attribute `scope` of its entry.
    pub scope: String,
    /// What became of the index.
    pub state: ExportEnd,
    /// Layers that this export has sent.
    pub layers_sent: usize,
    /// Layers that were there already, or that another build has sent meanwhile.
    pub layers_present: usize,
    /// Layers that the index does not name.
    pub layers_left_out: usize,
    /// Bytes of the layers that it has sent.
    pub bytes_sent: u64,
    /// How long layers were on their way.
    pub sending: Duration,
    /// What it has asked of the service.
    pub usage: ServiceUsage,
    /// How long it took from BuildKit's first write on.
    pub duration: Duration,
}

impl ExportSummary {
    /// The summary of an export that was not begun.
    pub fn skipped(scope: &str) -> Self {
        Self {
            scope: scope.to_owned(),
            state: ExportEnd::Skipped,
            layers_sent: 0,
            layers_present: 0,
            layers_left_out: 0,
            bytes_sent: 0,
            sending: Duration::ZERO,
            usage: ServiceUsage::default(),
            duration: Duration::ZERO,
        }
    }
}

/// What became of the index of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportEnd {
    /// It was written.
    Written,
    /// The newest one says the same, so none was written.
    Unchanged,
    /// All bytes are on this machine, and go on to the cache after the build.
    Pending,
    /// The build left before it was written.
    Cancelled,
    /// It was not written.
    Failed,
    /// There was nothing to export, or no way to: nothing was tried.
    Skipped,
}

impl ExportEnd {
    /// The word for it in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Unchanged => "unchanged",
            Self::Pending => "pending",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What an import has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSummary {
    /// The attribute `scope` of its entry.
    pub scope: String,
    /// The indexes that were looked for, in the order in which the token's scopes are read.
    pub indexes: Vec<IndexSummary>,
    /// Layers that BuildKit asked for and that are there.
    pub layers_confirmed: usize,
    /// Layers that BuildKit asked for and that cannot be used.
    pub layers_gone: usize,
    /// Layers whose bytes were fetched.
    pub layers_fetched: usize,
    /// Bytes of these layers.
    pub bytes_fetched: u64,
    /// Those of them that BuildKit did not ask for: they were fetched ahead of it, or to be verified.
    pub layers_ahead: usize,
    /// How long layers were on their way.
    pub fetching: Duration,
    /// What it has asked of the service.
    pub usage: ServiceUsage,
    /// How long the build lasted from the import's begin on.
    pub duration: Duration,
    /// The build went on before all indexes were loaded.
    pub late: bool,
}

impl ImportSummary {
    /// Why there was no index; `None` if there was one.
    pub fn no_index(&self) -> Option<NoIndex> {
        let mut reason = NoIndex::Absent;
        for index in &self.indexes {
            reason = reason.max(index.found.as_ref().err().copied()?);
        }
        Some(reason)
    }
}

/// The index of one of the token's scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSummary {
    /// The scope, which is a branch or another ref: `refs/heads/main`.
    pub branch: String,
    /// What was found, or why there is none.
    pub found: Result<FoundIndex, NoIndex>,
}

/// Why an import has no index of a scope. Of several reasons the greatest says most of the import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoIndex {
    /// There is none.
    Absent,
    /// It is not valid, or too large.
    Unusable,
    /// It could not be read: nobody knows whether there is one.
    Failed,
    /// It was not read yet.
    Late,
}

/// An index that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundIndex {
    /// When the newest thing that it names was made, which is about when it was written itself.
    pub created: Option<Timestamp>,
    /// How many layers it names.
    pub layers: usize,
}

/// What a job has asked of its service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceUsage {
    /// Requests that were sent, repeated ones included.
    pub calls: u64,
    /// How long at least one of its calls waited.
    pub waited: Duration,
    /// The same by what they waited for. Together that may be more.
    pub waits: BTreeMap<WaitCause, Duration>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitCause {
    /// The service's limit on calls.
    RateLimit {
        /// The service is github.com's.
        github: bool,
    },
    /// The next attempt of a call that failed.
    Retry,
    /// Another job's upload of the same layer.
    OtherUpload,
    /// Room in the import spool.
    SpoolRoom,
}

impl WaitCause {
    /// What is waited for, as it stands behind "waited 12 s for".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit { github: true } => "GitHub's rate limit",
            Self::RateLimit { github: false } => "the service's rate limit",
            Self::Retry => "another attempt of a call",
            Self::OtherUpload => "another job's upload",
            Self::SpoolRoom => "room in the import spool",
        }
    }
}

impl From<Hold> for WaitCause {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::RateLimit { github } => Self::RateLimit { github },
            Hold::Retry => Self::Retry,
        }
    }
}
