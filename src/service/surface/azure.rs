//! How Azure Blob storage words things: headers and errors
//! (what the clients send and need was seen in azblob v1.5.0 for Go).

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;

use super::{log_internal, refusal};
use crate::{
    protocol::block_list::BlockListError,
    service::{error::Error, sign::Denied},
};

/// The version of the protocol that answers name; clients only show it.
const VERSION: HeaderValue = HeaderValue::from_static("2024-11-04");

const X_MS_VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const X_MS_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const X_MS_CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
const X_MS_ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

/// The headers that stand on every answer, good or bad.
pub fn identify(response: &mut Response, request: &HeaderMap) {
    let id = format!("{:032x}", rand::random::<u128>());
    let headers = response.headers_mut();
    headers.insert(X_MS_VERSION, VERSION);
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(X_MS_REQUEST_ID, id);
    }
    if let Some(id) = request.get(X_MS_CLIENT_REQUEST_ID) {
        headers.insert(X_MS_CLIENT_REQUEST_ID, id.clone());
    }
}

/// The headers that describe a blob: entity tag and time.
pub fn describe(id: i64, modified: Timestamp) -> [(HeaderName, String); 2] {
    let modified = modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    [
        (header::ETAG, format!("\"0x{id:X}\"")),
        (header::LAST_MODIFIED, modified),
    ]
}

/// Why a blob operation is refused.
#[derive(Debug)]
pub enum Failure {
    /// The URL opens nothing, or not this.
    Denied(Denied),
    /// A query parameter is missing or makes no sense.
    Query(&'static str),
    /// A header makes no sense.
    Header(&'static str),
    /// A block id that is none.
    InvalidBlockId,
    /// A body that is no block list.
    InvalidBlockList(&'static str),
    /// No `Content-Length`.
    LengthRequired,
    /// Too long.
    TooLarge,
    /// A range outside of the blob, which has this many bytes.
    Range(u64),
    /// From the service itself.
    Service(Error),
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<BlockListError> for Failure {
    fn from(error: BlockListError) -> Self {
        match error {
            BlockListError::Malformed => Self::InvalidBlockList("the body is not a block list"),
            BlockListError::TooLong => Self::InvalidBlockList("the list is too long"),
            BlockListError::Id => Self::InvalidBlockId,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

impl Failure {
    fn classify(&self) -> (StatusCode, &'static str, String) {
        match self {
            Self::Denied(denied @ Denied::Permission) => (
                StatusCode::FORBIDDEN,
                "AuthorizationPermissionMismatch",
                denied.to_string(),
            ),
            Self::Denied(denied) => (
                StatusCode::FORBIDDEN,
                "AuthenticationFailed",
                denied.to_string(),
            ),
            Self::Query(message) => bad("InvalidQueryParameterValue", message),
            Self::Header(message) => bad("InvalidHeaderValue", message),
            Self::InvalidBlockId => bad("InvalidBlockId", "the block id is not valid"),
            Self::InvalidBlockList(message) => bad("InvalidBlockList", message),
            Self::LengthRequired => (
                StatusCode::LENGTH_REQUIRED,
                "MissingContentLengthHeader",
                "the header Content-Length is missing".to_owned(),
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestBodyTooLarge",
                "the body is larger than one request may be".to_owned(),
            ),
            Self::Range(_) => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "InvalidRange",
                "the range lies outside of the blob".to_owned(),
            ),
            Self::Service(error) => service(error),
        }
    }
}

fn bad(code: &'static str, message: &str) -> (StatusCode, &'static str, String) {
    (StatusCode::BAD_REQUEST, code, message.to_owned())
}

fn service(error: &Error) -> (StatusCode, &'static str, String) {
    if log_internal(error) {
        let message = "the service's storage failed".to_owned();
        return (StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message);
    }
    let (status, code) = match error {
        Error::NotFound => (StatusCode::NOT_FOUND, "BlobNotFound"),
        // Azure knows no full disk. Its clients repeat a 500 for minutes, but not this.
        Error::Full => (StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage"),
        Error::TooLarge | Error::LongMessage(_) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge")
        }
        Error::Sealed => (StatusCode::CONFLICT, "BlobImmutableDueToPolicy"),
        Error::UnknownBlock | Error::RepeatedBlock => (StatusCode::BAD_REQUEST, "InvalidBlockList"),
        // Azure's clients wait and try again.
        Error::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "ServerBusy"),
        Error::TooManyParts => (StatusCode::CONFLICT, "BlockCountExceedsLimit"),
        Error::Body(_) => (StatusCode::BAD_REQUEST, "IncompleteBody"),
        _ => (StatusCode::BAD_REQUEST, "InvalidInput"),
    };
    (status, code, error.to_string())
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code, message) = self.classify();
        // No message holds a character that XML would want escaped.
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
             <Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        let headers = [
            (header::CONTENT_TYPE, "application/xml"),
            (X_MS_ERROR_CODE, code),
        ];
        let mut response = refusal(&message, (status, headers, body));
        if let Self::Range(size) = self
            && let Ok(range) = HeaderValue::try_from(format!("bytes */{size}"))
        {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        response
    }
}
