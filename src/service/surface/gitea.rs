//! What Gitea's runner says of its jobs to a cache server that is not its own.
//!
//! As `postInternalCache` in `internal/app/run/runner.go` of gitea/runner v3.3 has it. What it asks for beside that, to send
//! artifacts on to Gitea, is not answered, so that it leads its jobs to Gitea itself for these.

use axum::{
    Json, Router,
    body::Body,
    http::{HeaderMap, header},
    response::Response,
    routing::post,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    context::{AppState, Context, RUNNERS},
    response::respond,
    v1,
};
use crate::{
    secret::Secret,
    service::{
        api_error::{ApiError, ErrorKind},
        metrics::Operation,
        token,
    },
};

/// Largest message: a token of Gitea has some hundred bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_internal/register", post(register))
        .route("/_internal/revoke", post(revoke))
}

#[derive(Deserialize)]
struct Registration {
    token: String,
    /// `owner/repo`.
    repo: String,
}

#[derive(Deserialize)]
struct Revocation {
    token: String,
}

async fn register(context: Context, headers: HeaderMap, body: Body) -> Response {
    let registered = async {
        let Registration { token, repo } = message(&context, &headers, body).await?;
        let token = job_token(token)?;
        if !token::is_repository(&repo) {
            let message = "repo is not of the form owner/repo";
            return Err(ApiError::malformed(message));
        }
        let jobs = context.service.gitea().ok_or_else(no_gitea)?;
        jobs.register(&token, repo, context.service.now()).await?;
        Ok::<Json<Value>, ApiError>(Json(json!({})))
    };
    respond(Operation::Other, registered.await, v1::error_response)
}

async fn revoke(context: Context, headers: HeaderMap, body: Body) -> Response {
    let revoked = async {
        let Revocation { token } = message(&context, &headers, body).await?;
        let token = job_token(token)?;
        let jobs = context.service.gitea().ok_or_else(no_gitea)?;
        jobs.revoke(&token, context.service.now()).await?;
        Ok::<Json<Value>, ApiError>(Json(json!({})))
    };
    respond(Operation::Other, revoked.await, v1::error_response)
}

/// What a runner says, if it is one.
async fn message<T: DeserializeOwned>(
    context: &Context,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, ApiError> {
    context.service.gitea().ok_or_else(no_gitea)?;
    let header = headers.get(header::AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok());
    context.service.authenticate_runner(header)?;
    context.admit(RUNNERS)?;
    let body = context.collect(RUNNERS, body, MAX_MESSAGE_BYTES).await?;
    v1::parse(&body)
}

fn job_token(token: String) -> Result<Secret, ApiError> {
    if token.is_empty() {
        return Err(ApiError::malformed("token is empty"));
    }
    Ok(Secret::from(token))
}

fn no_gitea() -> ApiError {
    let message = "this service takes no jobs of Gitea's runners (serve --gitea-secret-file)";
    ApiError::new(ErrorKind::NotFound, message)
}
