//! What can go wrong with a remote call, with all that the next decision needs.

use std::{error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{Call, TokenError};

/// What is said of a signed URL that fails where TLS was lost on the way to it.
const PLAIN_URL: &str = "the service is reached over https, but its signed URLs begin with http://: if it is \
     buildkit-gha serve behind a proxy with TLS, start it with --base-url https://… or \
     --trusted-proxy and the proxy's address";

/// A failed call to the Actions cache.
#[derive(Debug, Clone)]
pub struct Error {
    /// The kind, on which decisions are made.
    pub kind: Kind,
    /// The remote call.
    pub call: Call,
    /// The service's own words say that something has expired.
    pub(super) names_expiry: bool,
    /// Scheme, host and port of the service; never a path or a query.
    pub origin: String,
    /// The service's own words, or the transport's. For people, [`Error::description`] says more.
    pub message: String,
    /// In a box, since errors are passed by value.
    reason: Option<Box<Reason>>,
}

#[derive(Debug, Clone, Default)]
struct Reason {
    hint: Option<Hint>,
    /// Shared, since an error may be told to many who waited for one call.
    cause: Option<Arc<Cause>>,
}

impl Error {
    /// An error without a source.
    pub(super) fn new(kind: Kind, call: Call, origin: String, message: String) -> Self {
        Self {
            kind,
            call,
            names_expiry: false,
            origin,
            message,
            reason: None,
        }
    }

    pub(super) fn caused_by(mut self, cause: Cause) -> Self {
        self.reason.get_or_insert_default().cause = Some(Arc::new(cause));
        self
    }

    /// The same error with what the client knows of the reason and the message does not say.
    pub(super) fn hinting(mut self, hint: Hint) -> Self {
        self.reason.get_or_insert_default().hint = Some(hint);
        self
    }

    /// The bytes that the caller wanted to send cannot be had.
    pub(super) fn source_lost(call: Call, error: io::Error) -> Self {
        let message = format!("the bytes to send are gone: {error}");
        Self::new(Kind::Source, call, "this machine".to_owned(), message)
            .caused_by(Cause::Source(error))
    }

    /// The message with what the client knows of the reason.
    pub fn description(&self) -> String {
        match self.hint() {
            None => self.message.clone(),
            Some(hint) => format!("{} ({hint})", self.message),
        }
    }

    fn hint(&self) -> Option<&Hint> {
        self.reason.as_ref()?.hint.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {}: {}",
            self.call,
            self.origin,
            self.description()
        )
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let cause = self.reason.as_ref()?.cause.as_ref()?;
        Some(&**cause)
    }
}

/// The kinds of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The key is there already (409).
    AlreadyExists,
    /// The service refuses (401, 403, "cache write denied"); not an expired URL.
    Denied,
    /// A signed URL is no longer valid (403 of the blob store).
    UrlExpired,
    /// The entry is not there (404).
    NotFound,
    /// Too many requests (429), and how long the service asks to wait.
    Throttled(Option<Duration>),
    /// The service failed (5xx).
    Server(u16),
    /// The request is wrong (other 4xx).
    Rejected(u16),
    /// No connection could be made, so nothing was sent.
    Unreachable(NoConnection),
    /// The connection failed or was reset before there was an answer.
    Transport,
    /// There was an answer, and its body was cut.
    Incomplete,
    /// The call, or the whole operation, took longer than it may.
    Timeout,
    /// The answer is not what the protocol says.
    Protocol,
    /// The bytes to send are gone.
    Source,
}

/// Why no connection could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoConnection {
    /// It was refused, or there is no way to the host.
    Refused,
    /// Nobody knows a host of that name.
    UnknownHost,
    /// The server's certificate is not trusted, or it speaks no TLS.
    Tls,
}

impl NoConnection {
    /// False if another attempt comes to the same, unless the service was reached before.
    pub(super) fn may_pass(self) -> bool {
        self == Self::Refused
    }
}

/// Statuses that mean "not now" rather than "never".
const PASSING: [u16; 4] = [500, 502, 503, 504];

/// Whether another attempt may do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retryability {
    /// It comes to the same.
    Never,
    /// After a wait, a few times.
    AfterBackoff,
    /// As soon as the rate limiter admits it: the service has said when.
    WhenAdmitted,
}

impl Kind {
    /// True if the service may have done what it was asked although the call failed.
    pub(crate) fn outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::Server(_) | Self::Transport | Self::Incomplete | Self::Timeout
        )
    }

    pub(crate) fn retryability(&self) -> Retryability {
        match self {
            Self::Throttled(_) => Retryability::WhenAdmitted,
            Self::Server(status) if PASSING.contains(status) => Retryability::AfterBackoff,
            Self::Unreachable(_) | Self::Transport | Self::Incomplete | Self::Timeout => {
                Retryability::AfterBackoff
            }
            Self::Server(_)
            | Self::AlreadyExists
            | Self::Denied
            | Self::UrlExpired
            | Self::NotFound
            | Self::Rejected(_)
            | Self::Protocol
            | Self::Source => Retryability::Never,
        }
    }
}

/// A likely reason that the service does not know or does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hint {
    /// The signed URL has lost the TLS that the service is reached with, so that something else may
    /// have answered.
    PlainUrl,
    /// The time of the runtime token is over.
    TokenExpired(Timestamp),
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainUrl => f.write_str(PLAIN_URL),
            Self::TokenExpired(at) => TokenError::Expired(*at).fmt(f),
        }
    }
}

/// What an error came from, where that was an error too. It holds no URL.
#[derive(thiserror::Error)]
pub(super) enum Cause {
    #[error(transparent)]
    Transport(reqwest::Error),
    #[error(transparent)]
    Source(io::Error),
    /// Of a call whose time is over: how its last attempt failed.
    #[error(transparent)]
    LastAttempt(Box<Error>),
}

/// No more than people may read: libraries put more into `Debug`.
impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
