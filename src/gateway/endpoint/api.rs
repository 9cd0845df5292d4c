//! The calls of version 1, as `protocol::v1` describes them.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{FromRequestParts, Path, Query, RawPathParams, Request, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::TryStreamExt as _;
use http_body_util::Limited;
use serde::Deserialize;

use super::{error::ErrorResponse, handle::Handle, objects, state::ApiState};
use crate::{
    protocol::{
        key::{MAX_KEY_CHARS, MAX_LOOKUP_KEYS},
        range::ContentRange,
        v1,
    },
    secret::SecretUrl,
};

/// The handle of the path, by name and by token. It is the first thing that a call asks for: who does
/// not show its token learns nothing else, and a wrong handle and a wrong token get one answer.
pub(super) struct Authenticated {
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
        let path = path.map_err(|_| ErrorResponse::unauthorized())?;
        let name = path.iter().find(|(name, _)| *name == "handle");
        let (_, name) = name.ok_or_else(ErrorResponse::unauthorized)?;
        let bearer = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        let handle = shared
            .handles
            .authenticate(name, bearer)
            .ok_or_else(ErrorResponse::unauthorized)?;
        Ok(Self {
            name: name.to_owned(),
            handle,
        })
    }
}

fn check_key(key: &str) -> Result<(), ErrorResponse> {
    if key.chars().count() > MAX_KEY_CHARS {
        return Err(ErrorResponse::bad_request(format!(
            "a key is longer than {MAX_KEY_CHARS} characters"
        )));
    }
    Ok(())
}

#[derive(Deserialize)]
pub(super) struct LookupQuery {
    keys: String,
    version: String,
}

pub(super) async fn lookup(
    caller: Authenticated,
    State(shared): State<Arc<ApiState>>,
    Query(query): Query<LookupQuery>,
) -> Result<Response, ErrorResponse> {
    let keys: Vec<&str> = query.keys.split(',').take(MAX_LOOKUP_KEYS + 1).collect();
    if keys.len() > MAX_LOOKUP_KEYS {
        return Err(ErrorResponse::bad_request(format!(
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

pub(super) async fn reserve(
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

pub(super) async fn write(
    caller: Authenticated,
    Path((_, id)): Path<(String, i64)>,
    request: Request,
) -> Result<StatusCode, ErrorResponse> {
    let range = request
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| ErrorResponse::bad_request("Content-Range is missing"))?;
    let range = ContentRange::parse(range)
        .map_err(|error| ErrorResponse::bad_request(error.to_string()))?
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

pub(super) async fn commit(
    caller: Authenticated,
    Path((_, id)): Path<(String, i64)>,
    Json(request): Json<v1::CommitRequest>,
) -> Result<StatusCode, ErrorResponse> {
    caller.handle.backend.commit(id, request.size).await?;
    Ok(StatusCode::NO_CONTENT)
}
