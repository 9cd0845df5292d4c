//! An answer that is an error, in the form that go-actions-cache reads.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use hyper::ext::ReasonPhrase;

use super::backend::{BackendError, ErrorKind};
use crate::protocol::v1;

/// The status of the answer and its body.
pub(super) struct ErrorResponse(StatusCode, v1::ErrorBody);

impl ErrorResponse {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let body = v1::ErrorBody {
            message: message.into(),
            ..Default::default()
        };
        Self(status, body)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// For callers without the token of a handle, whether there is such a handle or not.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unknown handle or wrong token")
    }
}

impl From<BackendError> for ErrorResponse {
    fn from(error: BackendError) -> Self {
        let (status, type_key) = match error.kind {
            ErrorKind::AlreadyExists => (StatusCode::CONFLICT, v1::ALREADY_EXISTS),
            ErrorKind::InvalidRequest => (StatusCode::BAD_REQUEST, ""),
            ErrorKind::Upstream => (StatusCode::BAD_GATEWAY, ""),
        };
        let body = v1::ErrorBody {
            message: error.to_string(),
            type_key: type_key.into(),
            type_name: String::new(),
        };
        Self(status, body)
    }
}

/// BuildKit shows of a download that fails nothing but the status line, and that as the error of
/// the whole build. So the message stands there too, in place of "Bad Gateway".
impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let phrase: String = self.1.message.chars().map(printable).collect();
        let mut response = (self.0, Json(self.1)).into_response();
        if let Ok(phrase) = ReasonPhrase::try_from(phrase) {
            response.extensions_mut().insert(phrase);
        }
        response
    }
}

/// A status line has one line of ASCII.
fn printable(char: char) -> char {
    match char {
        ' '..='~' => char,
        _ => ' ',
    }
}
