//! Version 1, see [`crate::protocol::v1`]. Errors are JSON with `message` and `typeKey`.

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use serde::Deserialize;

use super::{Context, Refused, Shared, answer, log_internal, refusal};
use crate::{
    protocol::{
        range::ContentRange,
        v1::{ALREADY_EXISTS, CommitRequest, Entry, ErrorBody, ReserveRequest, ReserveResponse},
    },
    service::{
        auth::AuthError, config::MAX_PART_BYTES, entries::Entries, error::Error,
        metrics::Operation, sign::Permission, upload::Part,
    },
};

pub(super) fn routes() -> Router<Shared> {
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
        let caller = context.caller(&headers)?;
        let Query(query) = query.map_err(|error| Failure::Request(error.body_text()))?;
        context.access.key(&query.keys, None);
        let keys: Vec<String> = query.keys.split(',').map(str::to_owned).collect();
        let (repository, expires) = (caller.repository.clone(), caller.expires);
        let find = move |entries: &Entries| entries.lookup(&caller, &keys, &query.version);
        let Some(entry) = context.service.search(&repository, find).await? else {
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        context.access.entry(&entry.name);
        context.access.size(entry.size);
        let archive_location = context.signed_url(&headers, expires, entry.id, Permission::Read);
        let entry = Entry {
            cache_key: entry.name.key,
            scope: entry.name.scope,
            archive_location,
        };
        Ok::<_, Failure>(Json(entry).into_response())
    };
    answer(Operation::Lookup, found.await)
}

async fn reserve(context: Context, headers: HeaderMap, body: Body) -> Response {
    let reserved = async {
        let caller = context.caller(&headers)?;
        let request: ReserveRequest = parse(&context.message(&caller, body).await?)?;
        context.access.key(&request.key, caller.write_scope());
        let upload = context
            .service
            .blocking(move |entries| entries.reserve(&caller, &request.key, &request.version))
            .await?;
        let reserved = ReserveResponse {
            cache_id: upload.id,
        };
        Ok::<_, Failure>((StatusCode::CREATED, Json(reserved)))
    };
    answer(Operation::Reserve, reserved.await)
}

async fn upload(context: Context, Path(id): Path<i64>, headers: HeaderMap, body: Body) -> Response {
    let uploaded = async {
        let caller = context.caller(&headers)?;
        let upload = context
            .service
            .blocking(move |entries| entries.upload_of(&caller, id))
            .await?;
        context.access.entry(&upload.name);
        let range = content_range(&headers)?;
        upload.check_chunk(&range)?;
        let part = Part::begin(&upload, range.end - range.start, context.service.now())?;
        context.service.receive(body, &part).await?;
        part.keep(|upload, region| upload.add_chunk(&range, region))?;
        Ok::<_, Failure>(StatusCode::NO_CONTENT)
    };
    answer(Operation::UploadPart, uploaded.await)
}

async fn commit(context: Context, Path(id): Path<i64>, headers: HeaderMap, body: Body) -> Response {
    let committed = async {
        let caller = context.caller(&headers)?;
        let request: CommitRequest = parse(&context.message(&caller, body).await?)?;
        let access = context.access.clone();
        access.size(request.size);
        let commit = move |entries: &Entries| {
            if let Ok(upload) = entries.upload_of(&caller, id) {
                access.entry(&upload.name);
            }
            entries.commit(&caller, id, request.size)
        };
        context.service.blocking(commit).await?;
        Ok::<_, Failure>(StatusCode::NO_CONTENT)
    };
    answer(Operation::Commit, committed.await)
}

fn content_range(headers: &HeaderMap) -> Result<std::ops::Range<u64>, Failure> {
    let header = headers
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Failure::Request("the header Content-Range is missing".to_owned()))?;
    let range = ContentRange::parse(header)
        .map_err(|error| Failure::Request(format!("Content-Range: {error}")))?
        .range;
    if range.end - range.start > MAX_PART_BYTES {
        return Err(Failure::Request(format!(
            "a part may have at most {MAX_PART_BYTES} bytes"
        )));
    }
    Ok(range)
}

fn parse<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::Request(error.to_string()))
}

enum Failure {
    Auth(AuthError),
    Request(String),
    Service(Error),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Auth(error) => Self::Auth(error),
            Refused::Service(error) => Self::Service(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, type_key, message) = match self {
            Self::Auth(error) => (
                StatusCode::UNAUTHORIZED,
                "AuthenticationException",
                error.to_string(),
            ),
            Self::Request(message) => (StatusCode::BAD_REQUEST, "InvalidRequestException", message),
            Self::Service(error) => {
                let (status, type_key) = classify(&error);
                (status, type_key, error.to_string())
            }
        };
        let reason = message.clone();
        let body = ErrorBody {
            message,
            type_key: type_key.to_owned(),
            type_name: format!("GitHub.Actions.ArtifactCache.{type_key}"),
        };
        refusal(&reason, (status, Json(body)))
    }
}

fn classify(error: &Error) -> (StatusCode, &'static str) {
    log_internal(error);
    match error {
        Error::Exists => (StatusCode::CONFLICT, ALREADY_EXISTS),
        Error::Sealed => (StatusCode::CONFLICT, "InvalidOperationException"),
        Error::ReadOnly | Error::NotDeletable => (StatusCode::FORBIDDEN, "AccessDeniedException"),
        Error::NotFound => (StatusCode::NOT_FOUND, "ArtifactCacheItemNotFoundException"),
        Error::TooManyUploads | Error::Busy { .. } => {
            (StatusCode::TOO_MANY_REQUESTS, "RequestBlockedException")
        }
        Error::LongMessage(_) => (StatusCode::PAYLOAD_TOO_LARGE, "InvalidRequestException"),
        Error::Crowded => (StatusCode::SERVICE_UNAVAILABLE, "RequestBlockedException"),
        Error::Full => (
            StatusCode::INSUFFICIENT_STORAGE,
            "InsufficientStorageException",
        ),
        Error::Unsynced(_) | Error::Io(_) | Error::Db(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalException")
        }
        Error::InvalidKey
        | Error::InvalidVersion
        | Error::KeyCount
        | Error::Size { .. }
        | Error::Gap { .. }
        | Error::Overlap
        | Error::UnknownBlock
        | Error::RepeatedBlock
        | Error::TooManyParts
        | Error::TooLarge
        | Error::Body(_) => (StatusCode::BAD_REQUEST, "InvalidRequestException"),
    }
}
