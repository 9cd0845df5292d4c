//! The calls of version 1, as `protocol::v1` describes them.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::TryStreamExt as _;
use hyper::ext::ReasonPhrase;
use serde::Deserialize;
use url::Url;

use super::{
    backend::Failure,
    handle::{Handle, Handles},
    objects,
};
use crate::{
    protocol::{range::ContentRange, v1},
    secret::SecretUrl,
};

/// What every handler needs.
pub(super) struct Shared {
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
        .with_state(Arc::new(Shared { handles, url }))
}

/// An answer that is an error, in the form that go-actions-cache reads.
pub(super) struct Refusal(StatusCode, v1::ErrorBody);

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let body = v1::ErrorBody {
            message: message.into(),
            ..Default::default()
        };
        Self(status, body)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let (status, type_key) = match failure {
            Failure::AlreadyExists(_) => (StatusCode::CONFLICT, v1::ALREADY_EXISTS),
            Failure::Invalid(_) => (StatusCode::BAD_REQUEST, ""),
            Failure::Upstream(_) => (StatusCode::BAD_GATEWAY, ""),
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
impl IntoResponse for Refusal {
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

/// The handle of the path, if the request shows its token. A wrong handle and a wrong token get
/// the same answer.
fn admit(shared: &Shared, name: &str, headers: &HeaderMap) -> Result<Arc<Handle>, Refusal> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    shared
        .handles
        .get(name)
        .filter(|handle| handle.admits(bearer))
        .ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, "unknown handle or wrong token"))
}

#[derive(Deserialize)]
struct LookupQuery {
    keys: String,
    version: String,
}

async fn lookup(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(query): Query<LookupQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let handle = admit(&shared, &name, &headers)?;
    let keys: Vec<&str> = query.keys.split(',').collect();
    let Some(found) = handle.backend.lookup(&keys, &query.version).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let object = handle.publish(found.object);
    let entry = v1::Entry {
        cache_key: found.key,
        scope: String::new(),
        archive_location: SecretUrl::new(objects::url(&shared.url, &name, &object)),
    };
    Ok(Json(entry).into_response())
}

async fn reserve(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(request): Json<v1::ReserveRequest>,
) -> Result<Response, Refusal> {
    let handle = admit(&shared, &name, &headers)?;
    let cache_id = handle
        .backend
        .reserve(&request.key, &request.version)
        .await?;
    Ok((StatusCode::CREATED, Json(v1::ReserveResponse { cache_id })).into_response())
}

async fn write(
    State(shared): State<Arc<Shared>>,
    Path((name, id)): Path<(String, i64)>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let handle = admit(&shared, &name, request.headers())?;
    let range = request
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "Content-Range is missing"))?;
    let range = ContentRange::parse(range)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?
        .range;
    let body = into_stream(request.into_body());
    handle.backend.write(id, range, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn into_stream(body: Body) -> super::Body {
    Box::pin(body.into_data_stream().map_err(std::io::Error::other))
}

async fn commit(
    State(shared): State<Arc<Shared>>,
    Path((name, id)): Path<(String, i64)>,
    headers: HeaderMap,
    Json(request): Json<v1::CommitRequest>,
) -> Result<StatusCode, Refusal> {
    let handle = admit(&shared, &name, &headers)?;
    handle.backend.commit(id, request.size).await?;
    Ok(StatusCode::NO_CONTENT)
}
