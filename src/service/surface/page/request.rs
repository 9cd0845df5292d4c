//! What every call of the page's API begins and ends with.

use axum::{
    Json,
    extract::{Query, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use serde::Serialize;

use crate::service::{
    api_error::ApiError,
    auth::{Administrator, Principal},
    grant::Role,
    metrics::Operation,
    rights::Rights,
    surface::{context::Context, response::respond, rest},
};

/// Who calls, if it looks after the service.
pub(super) async fn administrator(
    context: &Context,
    headers: &HeaderMap,
) -> Result<Administrator, ApiError> {
    match context.principal(headers).await? {
        Principal::Administrator(administrator) => Ok(administrator),
        Principal::Caller(_) => Err(ApiError::needs_administrator()),
    }
}

/// What a caller may do in a repository.
pub(super) async fn rights(
    context: &Context,
    headers: &HeaderMap,
    repository: String,
    needed: Role,
) -> Result<Rights, ApiError> {
    let administrator = administrator(context, headers).await?;
    let principal = Principal::Administrator(administrator);
    rest::rights_of(context, principal, repository, needed)
}

/// The repository that is meant: the one that is asked for, or that of the token; `None` for all.
pub(super) fn only(
    administrator: &Administrator,
    asked: Option<String>,
) -> Result<Option<String>, ApiError> {
    let own = administrator.repository.clone();
    if let Some(asked) = &asked {
        Principal::Administrator(administrator.clone()).check_repository(asked)?;
    }
    Ok(own.or(asked))
}

/// Answers, or says why not.
pub(super) fn answer<T: Serialize>(result: Result<T, ApiError>) -> Response {
    respond(Operation::Page, result.map(Json), rest::error_response)
}

/// A query that can be read.
pub(super) fn read<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    let Query(query) = query.map_err(|error| rest::invalid_query(&error))?;
    Ok(query)
}
