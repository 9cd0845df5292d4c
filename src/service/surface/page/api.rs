//! The API of the page: JSON for administrators, below `/ui/api/v1/`. It may change with the page.
//!
//! | call | parameters | what it answers |
//! |---|---|---|
//! | `GET session` | | name, role and repository of the token |
//! | `GET health` | | whether database and storage answer, limits and what entries take; for all repositories also disk and replicas |
//! | `GET repositories` | `repository`, `days` (30), `page`, `per_page` (50) | repositories, the largest first, and what has happened there by day |
//! | `GET scopes` | `repository` | its scopes, the largest first |
//! | `GET entries` | `repository`, `scope`, `prefix`, `text`, `sort`, `direction`, `page`, `per_page` | a page of the entries that match, and how many there are |
//! | `GET index` | `repository`, `id` | the layers and steps that an index names |
//! | `GET uploads` | | uploads that this process takes; for all repositories also how many others have |
//! | `POST delete` | body: `repository`, and `ids` or `scope` | how much has gone, and of a scope how many entries are left: then it is asked again |
//!
//! An error is `{"message": …}`, as REST has it.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
    routing::{get, post},
};

use super::{
    health,
    request::{administrator, answer, only, read, rights},
    tree::Tree,
    wire::{
        self, DeleteRequest, Deleted, EntriesPage, EntryQuery, IndexQuery, RepositoriesPage,
        RepositoryQuery, ScopesPage, ScopesQuery, Session, UploadsPage,
    },
};
use crate::service::{
    api_error::ApiError,
    auth::Principal,
    entries::Entries,
    grant::Role,
    metrics::Operation,
    store::{Filter, Page},
    surface::{
        context::{ADMINISTRATORS, AppState, Context},
        response::respond,
        rest,
    },
};

/// Most scopes of a repository that are listed: those that take most.
const MAX_SCOPES: u32 = 500;

/// Longest request for a deletion: some hundred ids.
const MAX_DELETE_BYTES: usize = 16 << 10;

/// Most entries that are named in one.
const MAX_DELETED: usize = 200;

pub(super) fn routes() -> Router<AppState> {
    let path = |name| format!("/ui/api/v1/{name}");
    Router::new()
        .route(&path("session"), get(session))
        .route(&path("health"), get(health::health))
        .route(&path("repositories"), get(repositories))
        .route(&path("scopes"), get(scopes))
        .route(&path("entries"), get(entries))
        .route(&path("index"), get(index))
        .route(&path("uploads"), get(uploads))
        .route(&path("delete"), post(delete))
}

async fn session(context: Context, headers: HeaderMap) -> Response {
    let session = administrator(&context, &headers).await;
    answer(session.map(|administrator| Session::new(&administrator)))
}

async fn repositories(
    context: Context,
    query: Result<Query<RepositoryQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let listed = async {
        let administrator = administrator(&context, &headers).await?;
        let query = read(query)?;
        let repository = only(&administrator, query.repository.clone())?;
        let list = async move |entries: Arc<Entries>| {
            let (skip, take) = query.place();
            entries
                .repositories(repository.as_deref(), skip, take, query.days())
                .await
        };
        let (total, page) = context.service.search(ADMINISTRATORS, list).await?;
        Ok(RepositoriesPage::new(total, context.service.now(), page))
    };
    answer(listed.await)
}

async fn scopes(
    context: Context,
    query: Result<Query<ScopesQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let listed = async {
        let query = read(query)?;
        let rights = rights(&context, &headers, query.repository, Role::Read).await?;
        let list =
            async move |entries: Arc<Entries>| entries.scopes(&rights.repository, MAX_SCOPES).await;
        let (total, scopes) = context.service.search(ADMINISTRATORS, list).await?;
        Ok(ScopesPage::new(total, scopes))
    };
    answer(listed.await)
}

async fn entries(
    context: Context,
    query: Result<Query<EntryQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let listed = async {
        let administrator = administrator(&context, &headers).await?;
        let query = read(query)?;
        let (skip, take) = query.place();
        let filter = Filter {
            repository: only(&administrator, query.repository)?,
            key_prefix: query.prefix,
            key_text: query.text,
            scopes: query.scope.map(|scope| vec![scope]),
        };
        let page = Page {
            sort: query.sort,
            direction: query.direction,
            skip,
            take,
        };
        let list = async move |entries: Arc<Entries>| entries.search(&filter, page).await;
        let (total, listed) = context.service.search(ADMINISTRATORS, list).await?;
        Ok(EntriesPage::new(total, listed))
    };
    answer(listed.await)
}

async fn index(
    context: Context,
    query: Result<Query<IndexQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let shown = async {
        let query = read(query)?;
        let rights = rights(&context, &headers, query.repository, Role::Read).await?;
        let tree = async move |entries: Arc<Entries>| entries.index_tree(&rights, query.id).await;
        let tree = context.service.search(ADMINISTRATORS, tree).await?;
        Ok(Tree::from(tree))
    };
    answer(shown.await)
}

async fn uploads(context: Context, headers: HeaderMap) -> Response {
    let listed = async {
        let administrator = administrator(&context, &headers).await?;
        let only = administrator.repository.as_deref();
        let service = &context.service;
        let uploads = service.entries().uploads(only);
        let replicas = match only {
            None => {
                service
                    .run(async |entries| entries.replicas().await)
                    .await?
            }
            Some(_) => Vec::new(),
        };
        Ok(UploadsPage::new(service.now(), uploads, replicas))
    };
    answer(listed.await)
}

async fn delete(context: Context, headers: HeaderMap, body: Body) -> Response {
    let deleted = async {
        let administrator = administrator(&context, &headers).await?;
        administrator.check_role(Role::Prune)?;
        let body = context
            .collect(ADMINISTRATORS, body, MAX_DELETE_BYTES)
            .await?;
        let request = serde_json::from_slice(&body);
        let request: DeleteRequest =
            request.map_err(|error| ApiError::malformed(error.to_string()))?;
        let (repository, what) = request.split(MAX_DELETED)?;
        let principal = Principal::Administrator(administrator);
        let rights = rest::rights_of(&context, principal, repository, Role::Prune)?;
        let delete = async move |entries: Arc<Entries>| match what {
            wire::Deletion::Entries(ids) => {
                let deleted = entries.delete_all(&rights, ids).await?;
                Ok((deleted, 0))
            }
            wire::Deletion::Scope(scope) => entries.delete_scope(&rights, &scope).await,
        };
        context.service.run(delete).await
    };
    let deleted = deleted.await;
    let deleted = deleted.map(|(usage, left)| Json(Deleted::new(usage, left)));
    respond(Operation::Delete, deleted, rest::error_response)
}
