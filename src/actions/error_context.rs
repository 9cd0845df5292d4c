//! What errors of one request have in common: the call, the service, and what they must not repeat.

use super::{
    Call, Error, Kind, connect, error::Cause, redactor::Redactor, request::Request,
    time_limit::TimeLimit,
};
use crate::error_chain::error_chain;

/// How a service says that a token's time is over; no status has that meaning.
const EXPIRED: &str = "expired";

/// Makes the errors of one request.
#[derive(Debug, Clone)]
pub(super) struct ErrorContext {
    call: Call,
    origin: String,
    pub(super) redactor: Redactor,
}

impl ErrorContext {
    pub fn new(request: &Request) -> Self {
        Self {
            call: request.call,
            origin: request.url.origin(),
            redactor: Redactor::new(request),
        }
    }

    /// An error in our words.
    pub fn error(&self, kind: Kind, message: &str) -> Error {
        let message = self.redactor.redact(message);
        Error::new(kind, self.call, self.origin.clone(), message)
    }

    /// An error in the service's words.
    pub fn said(&self, kind: Kind, message: &str) -> Error {
        let mut error = self.error(kind, message);
        error.names_expiry = error.message.contains(EXPIRED);
        error
    }

    /// There was no answer.
    pub fn no_answer(&self, error: reqwest::Error) -> Error {
        self.transport(error, Kind::Transport)
    }

    /// The answer broke off.
    pub fn incomplete(&self, error: reqwest::Error) -> Error {
        self.transport(error, Kind::Incomplete)
    }

    /// An error of the connection; of `broken`, unless its cause says more.
    fn transport(&self, error: reqwest::Error, broken: Kind) -> Error {
        let error = error.without_url();
        let failed = match connect::cause(&error) {
            Some((cause, message)) => self.error(Kind::Unreachable(cause), &message),
            None if error.is_timeout() => self.error(Kind::Timeout, &error_chain(&error)),
            None => self.error(broken, &error_chain(&error)),
        };
        failed.caused_by(Cause::Transport(error))
    }

    pub fn too_slow(&self, limit: TimeLimit) -> Error {
        let message = match limit {
            TimeLimit::Total(time) => format!("no answer within {time:?}"),
            TimeLimit::NoProgress(time) => format!("nothing moved for {time:?}"),
        };
        self.error(Kind::Timeout, &message)
    }
}
