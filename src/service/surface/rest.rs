//! GitHub's REST API for caches, see [`crate::protocol::rest`]. A runtime token of the same
//! repository is accepted in place of a GitHub token: it lists what it may read, and deletes where it
//! may write and delete.

use axum::{
    Json, Router,
    extract::{Path, Query, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{self, get},
};

use super::{AppState, Context, access::Reason, respond};
use crate::{
    protocol::rest::{Cache, DeleteQuery, List, ListQuery},
    service::{
        api_error::{ApiError, ErrorKind},
        auth::Caller,
        db::{Entry, Filter, Page},
        entries::Entries,
        metrics::Operation,
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
        let caller = caller(&context, &headers, &owner, &repo)?;
        let Query(query) = query.map_err(|error| invalid_query(&error))?;
        context.access.key(&query.key, query.git_ref.as_deref());
        let page = Page {
            sort: query.sort,
            direction: query.direction,
            skip: query.skip(),
            take: query.take(),
        };
        let filter = Filter {
            scopes: only(query.git_ref.as_deref(), caller.readable()),
            repository: caller.repository,
            key_prefix: query.key,
        };
        let repository = filter.repository.clone();
        let (total_count, entries) = context
            .service
            .search(&repository, move |entries| entries.list(&filter, page))
            .await?;
        Ok::<_, ApiError>(Json(to_list(total_count, entries)))
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
        let caller = caller(&context, &headers, &owner, &repo)?;
        let Query(query) = query.map_err(|error| invalid_query(&error))?;
        context.access.key(&query.key, query.git_ref.as_deref());
        let scopes = only(query.git_ref.as_deref(), caller.deletable());
        if scopes.is_empty() {
            return Err(ApiError::deletion_denied());
        }
        let filter = Filter {
            scopes,
            repository: caller.repository,
            key_prefix: query.key,
        };
        let entries = context
            .service
            .blocking(move |entries| entries.delete_key(&filter))
            .await?;
        if entries.is_empty() {
            return Err(ApiError::not_found());
        }
        Ok(Json(to_list(entries.len() as u64, entries)))
    };
    respond(Operation::Delete, deleted.await, error_response)
}

async fn delete(
    context: Context,
    Path((owner, repo, id)): Path<(String, String, i64)>,
    headers: HeaderMap,
) -> Response {
    let deleted = async {
        let caller = caller(&context, &headers, &owner, &repo)?;
        let delete = move |entries: &Entries| entries.delete(&caller, id);
        context.service.blocking(delete).await?;
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
    }
}

/// The caller, if its token is for this repository; as on GitHub, others learn nothing of it.
fn caller(
    context: &Context,
    headers: &HeaderMap,
    owner: &str,
    repo: &str,
) -> Result<Caller, ApiError> {
    let caller = context.caller(headers)?;
    if !caller
        .repository
        .eq_ignore_ascii_case(&format!("{owner}/{repo}"))
    {
        return Err(ApiError::not_found());
    }
    Ok(caller)
}

/// Those of `scopes` that are meant: all, or the one that is named.
fn only<'a>(named: Option<&str>, scopes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let meant = scopes.filter(|scope| named.is_none_or(|named| named == *scope));
    meant.map(str::to_owned).collect()
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
        ErrorKind::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::DataLost | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
