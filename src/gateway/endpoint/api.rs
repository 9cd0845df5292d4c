//! The calls of version 1, as `protocol::v1` describes them.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, FromRequestParts, Path, Query, RawPathParams, Request, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::TryStreamExt as _;
use http_body_util::Limited;
use hyper::ext::ReasonPhrase;
use serde::Deserialize;
use url::Url;

use super::{
    backend::BackendError,
    handle::{Handle, Handles},
    objects,
};
use crate::{
    protocol::{
        key::{MAX_KEY_CHARS, MAX_LOOKUP_KEYS},
        range::ContentRange,
        v1,
    },
    secret::SecretUrl,
};

/// Largest body of a call that is no upload: a key of 512 characters of four bytes, escaped, and
/// a version fit many times.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// What every handler needs.
pub(super) struct ApiState {
    pub handles: Arc<Handles>,
    url: Url,
}

pub(super) fn router(handles: Arc<Handles>, url: Url) -> Router {
    Router::new()
        .route("/{handle}/_apis/artifactcache/cache", get(lookup))
        .route("/{handle}/_apis/artifactcache/caches", post(reserve))
        .route(
            "/{handle}/_apis/artifactcache/caches/{id}",
            post(commit).patch(write),
        )
        .route("/{handle}/objects/{name}", get(objects::get))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .with_state(Arc::new(ApiState { handles, url }))
}

/// An answer that is an error, in the form that go-actions-cache reads.
pub(super) struct ErrorResponse(StatusCode, v1::ErrorBody);

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let body = v1::ErrorBody {
            message: message.into(),
            ..Default::default()
        };
        Self(status, body)
    }
}

impl From<BackendError> for ErrorResponse {
    fn from(failure: BackendError) -> Self {
        let (status, type_key) = match failure {
            BackendError::AlreadyExists(_) => (StatusCode::CONFLICT, v1::ALREADY_EXISTS),
            BackendError::Invalid(_) => (StatusCode::BAD_REQUEST, ""),
            BackendError::Upstream(_) => (StatusCode::BAD_GATEWAY, ""),
        };
        let body = v1::ErrorBody {
            message: failure.to_string(),
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

/// The handle of the path, by name and door. It is the first thing that a call asks for: who does
/// not show its token learns nothing else, and a wrong handle and a wrong token get one answer.
struct Authenticated {
    name: String,
    handle: Arc<Handle>,
}

impl FromRequestParts<Arc<ApiState>> for Authenticated {
    type Rejection = ErrorResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<ApiState>,
    ) -> Result<Self, ErrorResponse> {
        let path = RawPathParams::from_request_parts(parts, shared).await;
        let path = path.map_err(|_| unauthorized())?;
        let name = path.iter().find(|(name, _)| *name == "handle");
        let (_, name) = name.ok_or_else(unauthorized)?;
        let bearer = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        let handle = shared
            .handles
            .authenticate(name, bearer)
            .ok_or_else(unauthorized)?;
        Ok(Self {
            name: name.to_owned(),
            handle,
        })
    }
}

fn unauthorized() -> ErrorResponse {
    ErrorResponse::new(StatusCode::UNAUTHORIZED, "unknown handle or wrong token")
}

fn bad_request(message: impl Into<String>) -> ErrorResponse {
    ErrorResponse::new(StatusCode::BAD_REQUEST, message)
}

fn check_key(key: &str) -> Result<(), ErrorResponse> {
    if key.chars().count() > MAX_KEY_CHARS {
        return Err(bad_request(format!(
            "a key is longer than {MAX_KEY_CHARS} characters"
        )));
    }
    Ok(())
}

#[derive(Deserialize)]
struct LookupQuery {
    keys: String,
    version: String,
}

async fn lookup(
    caller: Authenticated,
    State(shared): State<Arc<ApiState>>,
    Query(query): Query<LookupQuery>,
) -> Result<Response, ErrorResponse> {
    let keys: Vec<&str> = query.keys.split(',').take(MAX_LOOKUP_KEYS + 1).collect();
    if keys.len() > MAX_LOOKUP_KEYS {
        return Err(bad_request(format!(
            "a lookup has more than {MAX_LOOKUP_KEYS} keys"
        )));
    }
    keys.iter().try_for_each(|key| check_key(key))?;
    let handle = &caller.handle;
    if handle.is_past_grace() {
        // A step that is shared with the build of this handle makes do without its import.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Some(found) = handle.backend.lookup(&keys, &query.version).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let object = handle.publish(&found.key, found.object);
    let entry = v1::Entry {
        cache_key: found.key,
        scope: String::new(),
        archive_location: SecretUrl::new(objects::url(&shared.url, &caller.name, &object)),
    };
    Ok(Json(entry).into_response())
}

async fn reserve(
    caller: Authenticated,
    Json(request): Json<v1::ReserveRequest>,
) -> Result<Response, ErrorResponse> {
    check_key(&request.key)?;
    let reserved = caller
        .handle
        .backend
        .reserve(&request.key, &request.version);
    let cache_id = reserved.await?;
    Ok((StatusCode::CREATED, Json(v1::ReserveResponse { cache_id })).into_response())
}

async fn write(
    caller: Authenticated,
    Path((_, id)): Path<(String, i64)>,
    request: Request,
) -> Result<StatusCode, ErrorResponse> {
    let range = request
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| bad_request("Content-Range is missing"))?;
    let range = ContentRange::parse(range)
        .map_err(|error| bad_request(error.to_string()))?
        .range;
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let body = into_stream(request.into_body(), length);
    caller.handle.backend.write(id, range, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A body that may have no more bytes than its range says.
fn into_stream(body: Body, length: usize) -> super::Body {
    let body = Body::new(Limited::new(body, length));
    Box::pin(body.into_data_stream().map_err(std::io::Error::other))
}

async fn commit(
    caller: Authenticated,
    Path((_, id)): Path<(String, i64)>,
    Json(request): Json<v1::CommitRequest>,
) -> Result<StatusCode, ErrorResponse> {
    caller.handle.backend.commit(id, request.size).await?;
    Ok(StatusCode::NO_CONTENT)
}
