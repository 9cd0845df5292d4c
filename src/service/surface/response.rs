//! Answers: marked with what they are an answer to, and failures worded by their protocol.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::access::{Denied, Reason};
use crate::service::{
    api_error::{ApiError, ErrorKind},
    audit::EventKind,
    metrics::Operation,
};

/// After how many seconds whoever was told that the database or an issuer is away, or that there is no room yet, should ask
/// again: a restart takes that long, and so may some evictions.
const RETRY_LATER: HeaderValue = HeaderValue::from_static("5");

/// The answer to a request, worded by `error_response` if it failed, and marked with what it was an answer
/// to, for the metrics and the access log.
pub(super) fn respond<T: IntoResponse>(
    operation: Operation,
    result: Result<T, ApiError>,
    error_response: fn(&ApiError) -> Response,
) -> Response {
    let mut response = match result {
        Ok(answer) => answer.into_response(),
        Err(error) => refusal(&error, error_response),
    };
    response.extensions_mut().insert(operation);
    response
}

/// The answer to a request that failed. What its client reads stands in the access log, too.
pub(super) fn refusal(error: &ApiError, error_response: fn(&ApiError) -> Response) -> Response {
    log_failure(error);
    let mut response = error_response(error);
    let retry_after = match error.kind() {
        ErrorKind::Unavailable | ErrorKind::NoRoom => Some(RETRY_LATER),
        ErrorKind::RateLimited { seconds } => Some(seconds.into()),
        _ => None,
    };
    if let Some(retry_after) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, retry_after);
    }
    if let Some(kind) = denial(error.kind()) {
        response.extensions_mut().insert(Denied(kind));
    }
    if response.extensions().get::<Reason>().is_none() {
        response.extensions_mut().insert(Reason(error.to_string()));
    }
    response
}

/// What a refusal is in the audit log, if it is for lack of a right.
fn denial(kind: ErrorKind) -> Option<EventKind> {
    match kind {
        ErrorKind::Unauthenticated => Some(EventKind::TokenRefused),
        ErrorKind::PermissionDenied => Some(EventKind::AccessDenied),
        ErrorKind::InvalidSignature => Some(EventKind::SignedUrlRefused),
        _ => None,
    }
}

/// Logs a failure of the service itself. All others are the client's to hear, but a full disk or a full budget is
/// the operator's, too.
pub(super) fn log_failure(error: &ApiError) {
    if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::NoRoom) {
        tracing::warn!(%error, "an upload is refused");
    }
    if error.kind() == ErrorKind::Unavailable {
        let cause = error.cause();
        tracing::warn!(%error, cause, "a request is refused");
    }
    if error.is_internal() {
        tracing::error!(%error, "a request failed inside the service");
    }
}
