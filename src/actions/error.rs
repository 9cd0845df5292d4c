//! What can go wrong with a remote call, with all that the next decision needs.

use std::{fmt, time::Duration};

/// A failed call to the Actions cache.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Error {
    /// The kind, on which decisions are made.
    pub kind: Kind,
    /// The remote call in words: "reserve", "upload part", "lookup".
    pub call: &'static str,
    /// Scheme, host and port of the service; never a path or a query.
    pub origin: String,
    /// The service's own words, or the transport's.
    pub message: String,
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

impl Kind {
    /// True if the service may have done what it was asked although the call failed.
    pub(crate) fn outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::Server(_) | Self::Transport | Self::Incomplete | Self::Timeout
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.call, self.origin, self.message)
    }
}
