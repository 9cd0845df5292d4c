//! What a job tells the people whose build it serves.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    steps::BuildSteps,
    summary::{ExportSummary, ImportSummary, IndexSummary, WaitCause},
};
use crate::{
    actions::{Token, TokenError},
    digest::Digest,
};

/// Takes what a job has to say; the gateway turns it into rows of the build's own log. Called
/// from any task and must not block.
#[async_trait]
pub trait Reporter: Send + Sync {
    /// One more thing to say.
    fn report(&self, event: Event);

    /// Waits until what was said is where it stays, which takes a moment: a job that ends now may be the
    /// last of its build.
    async fn flush(&self) {}

    /// The step of the build that was at work at `moment`, if there was exactly one and somebody
    /// watches the build.
    fn step_at(&self, moment: Timestamp) -> Option<Step> {
        let _ = moment;
        None
    }

    /// The steps of the build, for what jobs learn and must know of them.
    fn steps(&self) -> Option<Arc<BuildSteps>> {
        None
    }
}

/// Something that people may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something was lost; the build goes on.
    Warning(Warning),
    /// One line about what is going on, such as a wait or what the job came to.
    Note(String),
    /// Bytes are on their way.
    Transfer(Transfer),
    /// Something is waited for.
    Wait(Wait),
    /// BuildKit has handed over all layers of an export: the last ones are on their way.
    LastLayers {
        /// Those that were not in the cache.
        sending: usize,
        /// All layers of the export.
        total: usize,
    },
    /// The indexes of an import have been looked for.
    Indexes {
        /// The attribute `scope` of the import's entry.
        scope: String,
        /// What was found, in the order in which the token's scopes are read.
        indexes: Vec<IndexSummary>,
    },
    /// An export has ended.
    ExportSummary(Box<ExportSummary>),
    /// The build of an import has ended.
    ImportSummary(Box<ImportSummary>),
}

impl Event {
    /// A warning with one line of detail.
    pub(super) fn warning(short: impl Into<String>, detail: String) -> Self {
        Self::Warning(Warning::new(short, vec![detail]))
    }
}

/// What was lost, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// One line.
    pub short: String,
    /// More, line by line: what failed where, in the service's own words, and what to do.
    pub detail: Vec<String>,
    /// The cause, where more may be lost by it: a later warning of the same cause says all that this
    /// one does.
    pub cause: Option<&'static str>,
    /// The steps whose results were lost, where they are known.
    pub steps: Vec<Step>,
}

impl Warning {
    /// A warning that nothing is added to later.
    pub fn new(short: impl Into<String>, detail: Vec<String>) -> Self {
        Self {
            short: short.into(),
            detail,
            cause: None,
            steps: Vec::new(),
        }
    }
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name in the build's log.
    pub name: String,
    /// The digest of its vertex.
    pub vertex: String,
}

/// What a transfer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransferKey {
    /// A layer that is sent to the cache.
    Upload(Digest),
    /// A layer that comes from the cache.
    Download(Digest),
}

/// The state of one wait. The first event with a `text` begins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for and why; the same in all events of one wait.
    pub text: String,
    /// The kind of it.
    pub cause: WaitCause,
    /// When it ends as far as that is known.
    pub ends: Option<Instant>,
    /// Whether it is over.
    pub over: bool,
}

/// The state of one transfer. The first event of a `key` begins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The same in all events of one transfer.
    pub key: TransferKey,
    /// Bytes that the remote has confirmed.
    pub current: u64,
    /// Bytes in all; 0 if it is not known yet.
    pub total: u64,
    /// Whether more is to come.
    pub state: TransferState,
}

/// Whether more is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferState {
    /// Under way.
    Running,
    /// Done and confirmed.
    Done,
    /// Given up; a warning says why.
    Failed,
}

/// Why a job was not made. Its text is what the build's log should say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The token cannot be used at all.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// An export needs a scope to write to.
    #[error(
        "the token may not write to the cache ({scopes}); GitHub gives such tokens to jobs with \
         cache-mode: read or none and to low-trust events such as pull_request_target, and \
         cache-mode: write in the job or the workflow lets it save"
    )]
    ReadOnly {
        /// The scopes of the token.
        scopes: ScopeNames,
    },
    /// An import needs a scope to read from.
    #[error(
        "the token may not read the cache ({scopes}), as in jobs with GitHub's cache-mode: \
         write-only or none"
    )]
    Unreadable {
        /// The scopes of the token.
        scopes: ScopeNames,
    },
}

/// Scopes as people read them, each with what the token may do there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeNames(Vec<String>);

impl ScopeNames {
    /// The scopes of a token.
    pub(super) fn from_token(token: &Token) -> Self {
        let named = token.scopes().iter().map(|scope| {
            let may = match (scope.permission.readable(), scope.permission.writable()) {
                (true, true) => "read and write",
                (true, false) => "read",
                (false, true) => "write",
                (false, false) => "nothing",
            };
            format!("{}: {may}", scope.name)
        });
        Self(named.collect())
    }
}

impl fmt::Display for ScopeNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("it has no scope");
        }
        f.write_str(&self.0.join(", "))
    }
}

/// The progress of one transfer. Dropped before [`TransferProgress::done`], it
/// shows that the transfer failed.
pub(super) struct TransferProgress {
    reporter: Arc<dyn Reporter>,
    now: Mutex<Transfer>,
}

impl TransferProgress {
    /// Begins to show a transfer of `total` bytes.
    pub fn new(reporter: &Arc<dyn Reporter>, key: TransferKey, total: u64) -> Arc<Self> {
        let now = Transfer {
            key,
            current: 0,
            total,
            state: TransferState::Running,
        };
        reporter.report(Event::Transfer(now.clone()));
        Arc::new(Self {
            reporter: Arc::clone(reporter),
            now: Mutex::new(now),
        })
    }

    /// `current` bytes are confirmed. Parts are confirmed in any order of calls: the number that is
    /// shown never goes down.
    pub fn reached(&self, current: u64) {
        self.change(|now| now.current = now.current.max(current));
    }

    /// All bytes are confirmed.
    pub fn done(&self) {
        self.change(|now| {
            now.current = now.total;
            now.state = TransferState::Done;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Transfer)) {
        let mut now = self.now.lock();
        change(&mut now);
        self.reporter.report(Event::Transfer(now.clone()));
    }
}

impl Drop for TransferProgress {
    fn drop(&mut self) {
        let now = self.now.get_mut();
        if now.state == TransferState::Running {
            now.state = TransferState::Failed;
            self.reporter.report(Event::Transfer(now.clone()));
        }
    }
}
