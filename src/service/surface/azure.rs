//! How Azure Blob storage words things: headers and errors
//! (what the clients send and need was seen in azblob v1.5.0 for Go).

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;

use super::access::Reason;
use crate::{
    protocol::block_list::BlockListError,
    service::{
        api_error::{ApiError, ErrorKind},
        sign::SignatureError,
    },
};

/// The version of the protocol that answers name; clients only show it.
const VERSION: HeaderValue = HeaderValue::from_static("2024-11-04");

const X_MS_VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const X_MS_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const X_MS_CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
const X_MS_ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

/// The headers that stand on every answer, good or bad.
pub(super) fn identify(response: &mut Response, request: &HeaderMap) {
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
pub(super) fn describe(id: i64, modified: Timestamp) -> [(HeaderName, String); 2] {
    let modified = modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    [
        (header::ETAG, format!("\"0x{id:X}\"")),
        (header::LAST_MODIFIED, modified),
    ]
}

impl From<SignatureError> for ApiError {
    fn from(error: SignatureError) -> Self {
        let kind = match error {
            SignatureError::Operation => ErrorKind::WrongOperation,
            SignatureError::Mismatch | SignatureError::Expired => ErrorKind::InvalidSignature,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<BlockListError> for ApiError {
    fn from(error: BlockListError) -> Self {
        let list = |message| Self::new(ErrorKind::InvalidBlockList, message);
        match error {
            BlockListError::Malformed => list("the body is not a block list"),
            BlockListError::TooLong => list("the list is too long"),
            BlockListError::Id => Self::new(ErrorKind::InvalidBlockId, "the block id is not valid"),
        }
    }
}

/// Errors as Azure words them.
pub(super) fn error_response(error: &ApiError) -> Response {
    let (status, code) = classify(error.kind());
    let message = if error.is_internal() {
        "the service's storage failed".to_owned()
    } else {
        error.to_string()
    };
    // No message holds a character that XML would want escaped.
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let headers = [
        (header::CONTENT_TYPE, "application/xml"),
        (X_MS_ERROR_CODE, code),
    ];
    let mut response = (status, headers, body).into_response();
    if let ErrorKind::InvalidRange { size } = error.kind()
        && let Ok(range) = HeaderValue::try_from(format!("bytes */{size}"))
    {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response.extensions_mut().insert(Reason(message));
    response
}

fn classify(kind: ErrorKind) -> (StatusCode, &'static str) {
    use ErrorKind as Kind;
    match kind {
        Kind::InvalidSignature => (StatusCode::FORBIDDEN, "AuthenticationFailed"),
        Kind::WrongOperation => (StatusCode::FORBIDDEN, "AuthorizationPermissionMismatch"),
        Kind::InvalidQuery => (StatusCode::BAD_REQUEST, "InvalidQueryParameterValue"),
        Kind::InvalidHeader => (StatusCode::BAD_REQUEST, "InvalidHeaderValue"),
        Kind::InvalidBlockId => (StatusCode::BAD_REQUEST, "InvalidBlockId"),
        Kind::InvalidBlockList => (StatusCode::BAD_REQUEST, "InvalidBlockList"),
        Kind::IncompleteBody => (StatusCode::BAD_REQUEST, "IncompleteBody"),
        Kind::LengthRequired => (StatusCode::LENGTH_REQUIRED, "MissingContentLengthHeader"),
        Kind::BodyTooLarge | Kind::UploadTooLarge | Kind::EntryTooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge")
        }
        Kind::InvalidRange { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange"),
        Kind::NotFound => (StatusCode::NOT_FOUND, "BlobNotFound"),
        Kind::Sealed => (StatusCode::CONFLICT, "BlobImmutableDueToPolicy"),
        Kind::TooManyParts => (StatusCode::CONFLICT, "BlockCountExceedsLimit"),
        // Azure's clients wait and try again.
        Kind::QuotaExceeded | Kind::NoRoom | Kind::Unavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "ServerBusy")
        }
        // Azure knows no full disk. Its clients repeat a 500 for minutes, but not this.
        Kind::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage"),
        Kind::DataLost | Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        _ => (StatusCode::BAD_REQUEST, "InvalidInput"),
    }
}
