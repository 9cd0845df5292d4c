//! What a job tells the people whose build it serves.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::{
    actions::{Token, TokenError},
    digest::Digest,
};

/// Takes what a job has to say; the gateway turns it into rows of the build's own log. Called
/// from any task and must not block.
pub trait Reporter: Send + Sync {
    /// One more thing to say.
    fn report(&self, event: Event);

    /// The step of the build that was at work at `moment`, in the words of its log, if there was
    /// exactly one and somebody watches the build.
    fn step_at(&self, moment: Timestamp) -> Option<String> {
        let _ = moment;
        None
    }
}

/// Something that people may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something was lost; the build goes on.
    Warning {
        /// One line.
        short: String,
        /// More, line by line: what failed where, in the service's own words, and what to do.
        detail: Vec<String>,
    },
    /// One line about what is going on, such as a wait or what the job came to.
    Note(String),
    /// Bytes are on their way.
    Transfer(Transfer),
}

impl Event {
    /// A warning with one line of detail.
    pub(super) fn warning(short: impl Into<String>, detail: String) -> Self {
        Self::Warning {
            short: short.into(),
            detail: vec![detail],
        }
    }
}

/// What a transfer or a wait is about. Its text is how people know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransferKey {
    /// A layer that is sent to the cache.
    Upload(Digest),
    /// A layer that comes from the cache.
    Download(Digest),
    /// Something that is waited for, in words.
    Wait(String),
}

impl fmt::Display for TransferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload(digest) => write!(f, "uploading {digest}"),
            Self::Download(digest) => write!(f, "fetching {digest}"),
            Self::Wait(text) => f.write_str(text),
        }
    }
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
