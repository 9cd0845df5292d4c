//! GitHub's REST API for caches, see [`crate::protocol::rest`]. In place of a GitHub token it takes a runtime token
//! of the same repository, which lists what it may read, and deletes where it may write and delete; and one of an
//! administrator, which lists all that the repository has, and deletes if its role may.

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
        audit::EventKind,
        auth::Principal,
        entries::Entries,
        grant::Role,
        metrics::Operation,
        rights::Rights,
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
        let rights = rights(&context, &headers, format!("{owner}/{repo}"), Role::Read).await?;
        let Query(query) = query.map_err(|error| invalid_query(&error))?;
        context.access.key(&query.key, query.git_ref.as_deref());
        let page = Page {
            sort: query.sort,
            direction: query.direction,
            skip: query.skip(),
            take: query.take(),
        };
        let repository = rights.repository.clone();
        let list = async move |entries: Arc<Entries>| {
            let scope = query.git_ref.as_deref();
            let hidden = entries.hidden(&rights, &query.key).await?;
            let (count, listed) = entries.list(&rights, scope, query.key, page).await?;
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
        let rights = rights(&context, &headers, format!("{owner}/{repo}"), Role::Prune).await?;
        let Query(query) = query.map_err(|error| invalid_query(&error))?;
        context.access.key(&query.key, query.git_ref.as_deref());
        let delete = async move |entries: Arc<Entries>| {
            let scope = query.git_ref.as_deref();
            entries.delete_key(&rights, scope, &query.key).await
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
        let rights = rights(&context, &headers, format!("{owner}/{repo}"), Role::Prune).await?;
        let delete = async move |entries: Arc<Entries>| entries.delete(&rights, id).await;
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

/// What a token allows in this repository, if it is about it. An administrator needs a role for that.
async fn rights(
    context: &Context,
    headers: &HeaderMap,
    repository: String,
    needed: Role,
) -> Result<Rights, ApiError> {
    let principal = context.principal(headers).await?;
    rights_of(context, principal, repository, needed)
}

/// The same of somebody who is known.
pub(super) fn rights_of(
    context: &Context,
    principal: Principal,
    repository: String,
    needed: Role,
) -> Result<Rights, ApiError> {
    if let Err(error) = principal.check_repository(&repository) {
        context.access.deny(
            EventKind::AccessDenied,
            format!("the token is not for the repository {repository}"),
        );
        return Err(error);
    }
    let actor = context.access.actor();
    match principal {
        Principal::Caller(caller) => Ok(Rights::of_caller(&caller, actor)),
        Principal::Administrator(administrator) => {
            administrator.check_role(needed)?;
            Ok(Rights::of_administrator(&administrator, repository, actor))
        }
    }
}

pub(super) fn invalid_query(error: &QueryRejection) -> ApiError {
    ApiError::malformed(error.body_text())
}

/// Errors as GitHub's REST API words them.
pub(super) fn error_response(error: &ApiError) -> Response {
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
