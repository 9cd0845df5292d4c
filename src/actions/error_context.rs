//! What errors of one request have in common: the call, the service, and what they must not repeat.

use super::{
    Call, Error, Kind, connect,
    error::{Cause, error_chain},
    redactor::Redactor,
    request::Request,
    time_limit::TimeLimit,
};

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

#[cfg(test)]
mod tests {
    use http::Method;
    use url::Url;

    use super::*;
    use crate::{
        actions::error_response::read_error,
        secret::{Secret, SecretUrl},
    };

    #[test]
    fn what_an_answer_repeats_of_the_request_is_hidden() {
        let url = Url::parse("https://blobs.example/c/entry-7?se=2026&sig=hun%2Bter2").unwrap();
        let url = SecretUrl::new(url);
        let request = Request::blob(Call::Download, Method::GET, url);
        let context = ErrorContext::new(&request);
        let page = "<title>no /c/entry-7?se=2026&amp;sig=hun%2Bter2 hun+ter2</title>";
        let response = http::Response::builder().status(404).body(page).unwrap();
        let (head, body) = response.into_parts();
        let error = read_error(
            &context,
            request.endpoint,
            head.status,
            &head.headers,
            body.as_bytes(),
        );
        assert_eq!(
            error.message,
            "no [secret]?se=2026&amp;sig=[secret] [secret]"
        );

        let url = Url::parse("https://cache.example/").unwrap();
        let request = Request::api(Call::Lookup, Method::GET, url, &Secret::new("hunter2"));
        let error = ErrorContext::new(&request).error(Kind::Denied, "bad token hunter2");
        assert_eq!(error.message, "bad token [secret]");
    }
}
