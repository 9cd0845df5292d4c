//! Version 1, see [`crate::protocol::v1`]. Errors are JSON with `message` and `typeKey`.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use serde::Deserialize;

use super::{
    context::{AppState, Context},
    forward::RequestHead,
    response::respond,
};
use crate::{
    protocol::{
        range::ContentRange,
        v1::{ALREADY_EXISTS, CommitRequest, Entry, ErrorBody, ReserveRequest, ReserveResponse},
    },
    service::{
        api_error::{ApiError, ErrorKind},
        config::MAX_PART_BYTES,
        entries::Entries,
        metrics::Operation,
        rate_limits::Counted,
        upload::PendingPart,
    },
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_apis/artifactcache/cache", get(lookup))
        .route("/_apis/artifactcache/caches", post(reserve))
        .route(
            "/_apis/artifactcache/caches/{id}",
            patch(upload).post(commit),
        )
}

#[derive(Deserialize)]
struct LookupQuery {
    keys: String,
    version: String,
}

async fn lookup(
    context: Context,
    headers: HeaderMap,
    query: Result<Query<LookupQuery>, QueryRejection>,
) -> Response {
    let found = async {
        let caller = context.caller(&headers).await?;
        let Query(query) = query.map_err(|error| ApiError::malformed(error.body_text()))?;
        context.access.key(&query.keys, None);
        context.count(Counted::Lookup, &caller)?;
        let keys: Vec<String> = query.keys.split(',').map(str::to_owned).collect();
        let (repository, expires) = (caller.repository.clone(), caller.expires);
        // There is one, be it empty.
        let primary = keys[0].clone();
        let find =
            async move |entries: Arc<Entries>| entries.lookup(&caller, keys, query.version).await;
        let found = context.service.search(&repository, find).await?;
        context.looked_up(&primary, found.as_ref());
        let Some(entry) = found else {
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        let archive_location = match context.proxied_url(&headers, entry.id) {
            Some(url) => url,
            None => context.download_url(&headers, expires, &entry).await?,
        };
        let entry = Entry {
            cache_key: entry.name.key,
            scope: entry.name.scope,
            archive_location,
        };
        Ok::<_, ApiError>(Json(entry).into_response())
    };
    respond(Operation::Lookup, found.await, error_response)
}

async fn reserve(context: Context, headers: HeaderMap, body: Body) -> Response {
    let reserved = async {
        let caller = context.caller(&headers).await?;
        let request: ReserveRequest = parse(&context.message(&caller, body).await?)?;
        context.access.key(&request.key, caller.write_scope());
        context.service.check_not_ending()?;
        context.count(Counted::Reservation, &caller)?;
        let upload = context
            .service
            .reserve(caller, request.key, request.version, request.cache_size)
            .await?;
        let reserved = ReserveResponse {
            cache_id: upload.id,
        };
        Ok::<_, ApiError>((StatusCode::CREATED, Json(reserved)))
    };
    respond(Operation::Reserve, reserved.await, error_response)
}

async fn upload(
    context: Context,
    Path(id): Path<i64>,
    headers: HeaderMap,
    head: RequestHead,
    body: Body,
) -> Response {
    let uploaded = async {
        let caller = context.caller(&headers).await?;
        if let Some(replica) = context.replica_of(id, &head).await? {
            return context.forward(&replica, head, body).await;
        }
        let upload = context.service.entries().upload_of(&caller, id)?;
        context.access.entry(&upload.name);
        let range = content_range(&headers)?;
        upload.check_chunk(&range)?;
        let part = PendingPart::begin(&upload, range.end - range.start, context.service.now())?;
        let extent = context.service.receive(body, &part, range.end).await?;
        part.keep(extent, |upload, extent| upload.add_chunk(&range, extent))?;
        Ok::<_, ApiError>(StatusCode::NO_CONTENT.into_response())
    };
    respond(Operation::UploadPart, uploaded.await, error_response)
}

async fn commit(
    context: Context,
    Path(id): Path<i64>,
    headers: HeaderMap,
    head: RequestHead,
    body: Body,
) -> Response {
    let committed = async {
        let caller = context.caller(&headers).await?;
        if let Some(replica) = context.replica_of(id, &head).await? {
            return context.forward(&replica, head, body).await;
        }
        let request: CommitRequest = parse(&context.message(&caller, body).await?)?;
        context.access.size(request.size);
        if let Ok(upload) = context.service.entries().upload_of(&caller, id) {
            context.access.entry(&upload.name);
        }
        context
            .service
            .run(async move |entries| entries.commit(&caller, id, request.size).await)
            .await?;
        Ok::<_, ApiError>(StatusCode::NO_CONTENT.into_response())
    };
    respond(Operation::Commit, committed.await, error_response)
}

fn content_range(headers: &HeaderMap) -> Result<std::ops::Range<u64>, ApiError> {
    let header = headers
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| ApiError::malformed("the header Content-Range is missing"))?;
    let range = ContentRange::parse(header)
        .map_err(|error| ApiError::malformed(format!("Content-Range: {error}")))?
        .range;
    if range.end - range.start > MAX_PART_BYTES {
        return Err(ApiError::malformed(format!(
            "a part may have at most {MAX_PART_BYTES} bytes"
        )));
    }
    Ok(range)
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::malformed(error.to_string()))
}

/// Errors as version 1 words them.
pub(super) fn error_response(error: &ApiError) -> Response {
    let (status, type_key) = classify(error.kind());
    let body = ErrorBody {
        message: error.to_string(),
        type_key: type_key.to_owned(),
        type_name: format!("GitHub.Actions.ArtifactCache.{type_key}"),
    };
    (status, Json(body)).into_response()
}

fn classify(kind: ErrorKind) -> (StatusCode, &'static str) {
    use ErrorKind as Kind;
    match kind {
        Kind::Unauthenticated => (StatusCode::UNAUTHORIZED, "AuthenticationException"),
        Kind::AlreadyExists => (StatusCode::CONFLICT, ALREADY_EXISTS),
        Kind::Sealed => (StatusCode::CONFLICT, "InvalidOperationException"),
        Kind::PermissionDenied | Kind::InvalidSignature | Kind::WrongOperation => {
            (StatusCode::FORBIDDEN, "AccessDeniedException")
        }
        Kind::NotFound => (StatusCode::NOT_FOUND, "ArtifactCacheItemNotFoundException"),
        Kind::TooManyUploads | Kind::QuotaExceeded | Kind::RateLimited { .. } | Kind::NoRoom => {
            (StatusCode::TOO_MANY_REQUESTS, "RequestBlockedException")
        }
        Kind::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "InvalidRequestException"),
        Kind::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "RequestBlockedException"),
        Kind::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailableException",
        ),
        Kind::StorageFull => (
            StatusCode::INSUFFICIENT_STORAGE,
            "InsufficientStorageException",
        ),
        Kind::DataLost | Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalException"),
        Kind::InvalidArgument
        | Kind::Malformed
        | Kind::UnsupportedContentType
        | Kind::InvalidQuery
        | Kind::InvalidHeader
        | Kind::InvalidBlockId
        | Kind::InvalidBlockList
        | Kind::LengthRequired
        | Kind::InvalidRange { .. }
        | Kind::IncompleteBody
        | Kind::UploadTooLarge
        | Kind::EntryTooLarge
        | Kind::TooManyParts => (StatusCode::BAD_REQUEST, "InvalidRequestException"),
    }
}
