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

use super::{Context, Refused, Shared, answer, log_internal, refusal};
use crate::{
    protocol::rest::{Cache, DeleteQuery, List, ListQuery},
    service::{
        auth::{AuthError, Caller},
        db::{Entry, Filter, Page},
        entries::Entries,
        error::Error,
        metrics::Operation,
    },
};

pub(super) fn routes() -> Router<Shared> {
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
        let Query(query) = query?;
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
        Ok::<_, Failure>(Json(to_list(total_count, entries)))
    };
    answer(Operation::List, listed.await)
}

async fn delete_key(
    context: Context,
    Path((owner, repo)): Path<(String, String)>,
    query: Result<Query<DeleteQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let deleted = async {
        let caller = caller(&context, &headers, &owner, &repo)?;
        let Query(query) = query?;
        context.access.key(&query.key, query.git_ref.as_deref());
        let scopes = only(query.git_ref.as_deref(), caller.deletable());
        if scopes.is_empty() {
            return Err(Failure::Service(Error::NotDeletable));
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
            return Err(Failure::Service(Error::NotFound));
        }
        Ok(Json(to_list(entries.len() as u64, entries)))
    };
    answer(Operation::Delete, deleted.await)
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
        Ok::<_, Failure>(StatusCode::NO_CONTENT)
    };
    answer(Operation::Delete, deleted.await)
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
) -> Result<Caller, Failure> {
    let caller = context.caller(headers)?;
    if !caller
        .repository
        .eq_ignore_ascii_case(&format!("{owner}/{repo}"))
    {
        return Err(Failure::Service(Error::NotFound));
    }
    Ok(caller)
}

/// Those of `scopes` that are meant: all, or the one that is named.
fn only<'a>(named: Option<&str>, scopes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let meant = scopes.filter(|scope| named.is_none_or(|named| named == *scope));
    meant.map(str::to_owned).collect()
}

enum Failure {
    Auth(AuthError),
    Query(QueryRejection),
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

impl From<QueryRejection> for Failure {
    fn from(error: QueryRejection) -> Self {
        Self::Query(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::Auth(error) => (
                StatusCode::UNAUTHORIZED,
                format!("Bad credentials: {error}"),
            ),
            Self::Query(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.body_text()),
            Self::Service(error) => (classify(&error), error.to_string()),
        };
        let body = Json(serde_json::json!({ "message": message }));
        refusal(&message, (status, body))
    }
}

fn classify(error: &Error) -> StatusCode {
    if log_internal(error) {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    match error {
        Error::NotFound => StatusCode::NOT_FOUND,
        Error::ReadOnly | Error::NotDeletable => StatusCode::FORBIDDEN,
        Error::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Full => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
