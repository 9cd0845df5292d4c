//! GitHub's REST API for caches, see [`crate::protocol::rest`]. A runtime token of the same
//! repository is accepted in place of a GitHub token: it lists what it may read, and deletes where it
//! may write and delete.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{self, get},
};

use super::{
    access::Reason,
    context::{AppState, Context},
    response::respond,
};
use crate::{
    protocol::rest::{Cache, DeleteQuery, List, ListQuery},
    service::{
        api_error::{ApiError, ErrorKind},
        auth::Caller,
        entries::Entries,
        metrics::Operation,
        store::{Entry, Page},
    },
};

pub(super) fn routes() -> Router<AppState> {
    const CACHES: &str = "/repos/{owner}/{repo}/actions/caches";
    Router::new()
        .route(CACHES, get(list).delete(delete_key))
        .route(&format!("{CACHES}/{{id}}"), routing::delete(delete))
}

async fn list(
    context: Context,
    Path((owner, repo)): Path<(String, String)>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let listed = async {
        let caller = caller(&context, &headers, &owner, &repo).await?;
        let Query(query) = query.map_err(|error| invalid_query(&error))?;
        context.access.key(&query.key, query.git_ref.as_deref());
        let page = Page {
            sort: query.sort,
            direction: query.direction,
            skip: query.skip(),
            take: query.take(),
        };
        let repository = caller.repository.clone();
        let list = async move |entries: Arc<Entries>| {
            let scope = query.git_ref.as_deref();
            let hidden = entries.hidden(&caller, &query.key).await?;
            let (count, listed) = entries.list(&caller, scope, query.key, page).await?;
            Ok((hidden, count, listed))
        };
        let (hidden_count, total_count, entries) =
            context.service.search(&repository, list).await?;
        Ok::<_, ApiError>(Json(List {
            hidden_count,
            ..to_list(total_count, entries)
        }))
    };
    respond(Operation::List, listed.await, error_response)
}

async fn delete_key(
    context: Context,
    Path((owner, repo)): Path<(String, String)>,
    query: Result<Query<DeleteQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let deleted = async {
        let caller = caller(&context, &headers, &owner, &repo).await?;
        let Query(query) = query.map_err(|error| invalid_query(&error))?;
        context.access.key(&query.key, query.git_ref.as_deref());
        let delete = async move |entries: Arc<Entries>| {
            let scope = query.git_ref.as_deref();
            entries.delete_key(&caller, scope, &query.key).await
        };
        let entries = context.service.run(delete).await?;
        Ok::<_, ApiError>(Json(to_list(entries.len() as u64, entries)))
    };
    respond(Operation::Delete, deleted.await, error_response)
}

async fn delete(
    context: Context,
    Path((owner, repo, id)): Path<(String, String, i64)>,
    headers: HeaderMap,
) -> Response {
    let deleted = async {
        let caller = caller(&context, &headers, &owner, &repo).await?;
        let delete = async move |entries: Arc<Entries>| entries.delete(&caller, id).await;
        context.service.run(delete).await?;
        Ok::<_, ApiError>(StatusCode::NO_CONTENT)
    };
    respond(Operation::Delete, deleted.await, error_response)
}

fn to_list(total_count: u64, entries: Vec<Entry>) -> List {
    let cache = |entry: Entry| Cache {
        id: entry.id,
        git_ref: entry.name.scope,
        key: entry.name.key,
        version: entry.name.version,
        last_accessed_at: entry.accessed,
        created_at: entry.created,
        size_in_bytes: entry.size,
    };
    List {
        total_count,
        actions_caches: entries.into_iter().map(cache).collect(),
        hidden_count: None,
    }
}

/// The caller, if its token is for this repository.
async fn caller(
    context: &Context,
    headers: &HeaderMap,
    owner: &str,
    repo: &str,
) -> Result<Caller, ApiError> {
    let caller = context.caller(headers).await?;
    caller.check_repository(&format!("{owner}/{repo}"))?;
    Ok(caller)
}

fn invalid_query(error: &QueryRejection) -> ApiError {
    ApiError::malformed(error.body_text())
}

/// Errors as GitHub's REST API words them.
fn error_response(error: &ApiError) -> Response {
    let message = match error.kind() {
        ErrorKind::Unauthenticated => format!("Bad credentials: {error}"),
        _ => error.to_string(),
    };
    let body = Json(serde_json::json!({ "message": message }));
    let mut response = (classify(error.kind()), body).into_response();
    response.extensions_mut().insert(Reason(message));
    response
}

fn classify(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::QuotaExceeded | ErrorKind::NoRoom => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::DataLost | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
