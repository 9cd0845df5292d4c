//! Version 2, see [`crate::protocol::v2`]: Twirp, as JSON or protobuf, whichever the request is.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    context::{AppState, Context},
    forward::RequestHead,
    response::respond,
};
use crate::{
    proto::actions as pb,
    protocol::v2::{
        ALREADY_EXISTS, BASE_PATH, CREATE, CreateRequest, CreateResponse, ErrorBody, FINALIZE,
        FinalizeRequest, FinalizeResponse, LOOKUP, LookupRequest, LookupResponse,
    },
    service::{
        api_error::{ApiError, ErrorKind},
        entries::{Commit, Entries},
        metrics::Operation,
        rate_limits::Counted,
    },
};

pub(super) fn routes() -> Router<AppState> {
    let path = |method| format!("/{BASE_PATH}{method}");
    Router::new()
        .route(&path(CREATE), post(create))
        .route(&path(FINALIZE), post(finalize))
        .route(&path(LOOKUP), post(lookup))
}

async fn create(context: Context, headers: HeaderMap, body: Body) -> Response {
    let created = async {
        let caller = context.caller(&headers).await?;
        let encoding = Encoding::from_headers(&headers)?;
        let body = context.message(&caller, body).await?;
        let request: CreateRequest = encoding.read::<_, pb::CreateCacheEntryRequest>(&body)?;
        context.access.key(&request.key, caller.write_scope());
        let expires = caller.expires;
        context.service.check_not_ending()?;
        context.count(Counted::Reservation, &caller)?;
        let reserved = context
            .service
            .reserve(caller, request.key, request.version, None)
            .await;
        let response = match reserved {
            Ok(upload) => CreateResponse {
                ok: true,
                signed_upload_url: context
                    .upload_url(&headers, expires, upload)
                    .await?
                    .expose()
                    .to_string(),
                message: String::new(),
            },
            // GitHub answers a denied write with a success that says no.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => CreateResponse {
                message: error.to_string(),
                ..CreateResponse::default()
            },
            Err(error) => return Err(error),
        };
        Ok::<_, ApiError>(encoding.write::<_, pb::CreateCacheEntryResponse>(response))
    };
    respond(Operation::Reserve, created.await, error_response)
}

async fn finalize(context: Context, headers: HeaderMap, head: RequestHead, body: Body) -> Response {
    let finalized = async {
        let caller = context.caller(&headers).await?;
        let encoding = Encoding::from_headers(&headers)?;
        let body = context.message(&caller, body).await?;
        let request: FinalizeRequest =
            encoding.read::<_, pb::FinalizeCacheEntryUploadRequest>(&body)?;
        let size = u64::try_from(request.size_bytes)
            .map_err(|_| ApiError::malformed("size_bytes is negative"))?;
        context.access.key(&request.key, caller.write_scope());
        context.access.size(size);
        let committed = context
            .service
            .run(async move |entries| {
                let (key, version) = (&request.key, &request.version);
                entries.commit_key(&caller, key, version, size).await
            })
            .await;
        let response = match committed {
            Ok(Commit::Replica(replica)) if !head.is_forwarded() => {
                return context.forward(&replica, head, Body::from(body)).await;
            }
            Ok(Commit::Replica(_)) => return Err(ApiError::not_found()),
            Ok(Commit::Entry(entry_id)) => FinalizeResponse {
                ok: true,
                entry_id,
                message: String::new(),
            },
            Err(error) if error.kind() == ErrorKind::PermissionDenied => FinalizeResponse {
                message: error.to_string(),
                ..FinalizeResponse::default()
            },
            Err(error) => return Err(error),
        };
        Ok::<_, ApiError>(encoding.write::<_, pb::FinalizeCacheEntryUploadResponse>(response))
    };
    respond(Operation::Commit, finalized.await, error_response)
}

async fn lookup(context: Context, headers: HeaderMap, body: Body) -> Response {
    let found = async {
        let caller = context.caller(&headers).await?;
        let encoding = Encoding::from_headers(&headers)?;
        let body = context.message(&caller, body).await?;
        let request: LookupRequest =
            encoding.read::<_, pb::GetCacheEntryDownloadUrlRequest>(&body)?;
        let mut keys = vec![request.key];
        keys.extend(request.restore_keys);
        context.access.key(&keys.join(","), None);
        context.count(Counted::Lookup, &caller)?;
        let (repository, expires) = (caller.repository.clone(), caller.expires);
        let primary = keys[0].clone();
        let find =
            async move |entries: Arc<Entries>| entries.lookup(&caller, keys, request.version).await;
        let found = context.service.search(&repository, find).await?;
        context.looked_up(&primary, found.as_ref());
        let response = match found {
            Some(entry) => LookupResponse {
                ok: true,
                signed_download_url: context
                    .download_url(&headers, expires, &entry)
                    .await?
                    .expose()
                    .to_string(),
                matched_key: entry.name.key,
            },
            None => LookupResponse::default(),
        };
        Ok::<_, ApiError>(encoding.write::<_, pb::GetCacheEntryDownloadUrlResponse>(response))
    };
    respond(Operation::Lookup, found.await, error_response)
}

/// How a request is written, and so its answer.
#[derive(Debug, Clone, Copy)]
enum Encoding {
    Json,
    Protobuf,
}

const PROTOBUF: &str = "application/protobuf";

impl Encoding {
    fn from_headers(headers: &HeaderMap) -> Result<Self, ApiError> {
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        match content_type.split(';').next().map(str::trim) {
            Some("application/json") => Ok(Self::Json),
            Some(PROTOBUF) => Ok(Self::Protobuf),
            _ => Err(ApiError::new(
                ErrorKind::UnsupportedContentType,
                format!("the content type must be application/json or {PROTOBUF}"),
            )),
        }
    }

    fn read<T, P>(self, body: &Bytes) -> Result<T, ApiError>
    where
        T: DeserializeOwned + From<P>,
        P: Message + Default,
    {
        match self {
            Self::Json => serde_json::from_slice(body).map_err(|e| e.to_string()),
            Self::Protobuf => P::decode(body.as_ref())
                .map(T::from)
                .map_err(|e| e.to_string()),
        }
        .map_err(ApiError::malformed)
    }

    fn write<T, P>(self, response: T) -> Response
    where
        T: Serialize + Into<P>,
        P: Message,
    {
        match self {
            Self::Json => Json(response).into_response(),
            Self::Protobuf => {
                let content_type = [(header::CONTENT_TYPE, PROTOBUF)];
                (content_type, response.into().encode_to_vec()).into_response()
            }
        }
    }
}

impl From<pb::CreateCacheEntryRequest> for CreateRequest {
    fn from(request: pb::CreateCacheEntryRequest) -> Self {
        Self {
            key: request.key,
            version: request.version,
        }
    }
}

impl From<CreateResponse> for pb::CreateCacheEntryResponse {
    fn from(response: CreateResponse) -> Self {
        Self {
            ok: response.ok,
            signed_upload_url: response.signed_upload_url,
            message: response.message,
        }
    }
}

impl From<pb::FinalizeCacheEntryUploadRequest> for FinalizeRequest {
    fn from(request: pb::FinalizeCacheEntryUploadRequest) -> Self {
        Self {
            key: request.key,
            version: request.version,
            size_bytes: request.size_bytes,
        }
    }
}

impl From<FinalizeResponse> for pb::FinalizeCacheEntryUploadResponse {
    fn from(response: FinalizeResponse) -> Self {
        Self {
            ok: response.ok,
            entry_id: response.entry_id,
            message: response.message,
        }
    }
}

impl From<pb::GetCacheEntryDownloadUrlRequest> for LookupRequest {
    fn from(request: pb::GetCacheEntryDownloadUrlRequest) -> Self {
        Self {
            key: request.key,
            restore_keys: request.restore_keys,
            version: request.version,
        }
    }
}

impl From<LookupResponse> for pb::GetCacheEntryDownloadUrlResponse {
    fn from(response: LookupResponse) -> Self {
        Self {
            ok: response.ok,
            signed_download_url: response.signed_download_url,
            matched_key: response.matched_key,
        }
    }
}

/// Errors as Twirp words them: JSON, whatever the request was.
fn error_response(error: &ApiError) -> Response {
    let (status, code) = classify(error.kind());
    let body = ErrorBody {
        code: code.to_owned(),
        msg: error.to_string(),
    };
    (status, Json(body)).into_response()
}

fn classify(kind: ErrorKind) -> (StatusCode, &'static str) {
    use ErrorKind as Kind;
    match kind {
        Kind::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        Kind::UnsupportedContentType => (StatusCode::NOT_FOUND, "bad_route"),
        Kind::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
        Kind::AlreadyExists => (StatusCode::CONFLICT, ALREADY_EXISTS),
        Kind::Sealed => (StatusCode::CONFLICT, "aborted"),
        Kind::PermissionDenied | Kind::InvalidSignature | Kind::WrongOperation => {
            (StatusCode::FORBIDDEN, "permission_denied")
        }
        Kind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        Kind::TooManyUploads | Kind::QuotaExceeded | Kind::RateLimited { .. } | Kind::NoRoom => {
            (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted")
        }
        Kind::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_argument"),
        Kind::Overloaded | Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        // Twirp has no status for it; this one is repeated by no client.
        Kind::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "resource_exhausted"),
        Kind::DataLost | Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        Kind::InvalidArgument
        | Kind::InvalidQuery
        | Kind::InvalidHeader
        | Kind::InvalidBlockId
        | Kind::InvalidBlockList
        | Kind::LengthRequired
        | Kind::InvalidRange { .. }
        | Kind::IncompleteBody
        | Kind::UploadTooLarge
        | Kind::EntryTooLarge
        | Kind::TooManyParts => (StatusCode::BAD_REQUEST, "invalid_argument"),
    }
}
