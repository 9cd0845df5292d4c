//! The protocols: each parses, calls the rules and words the answer. No SQL and no rules here.

mod azure;
mod blob;
mod rest;
mod v1;
mod v2;

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use url::Url;

use super::{
    Service,
    auth::{AuthError, Caller},
    entries::Entries,
    error::Error,
    metrics::Operation,
    sign::Permission,
};
use crate::secret::SecretUrl;

/// Largest body of a call that is no upload: a lookup with eleven keys of 512 characters of four
/// bytes each, escaped, still fits.
const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// What every surface needs.
#[derive(Clone)]
struct Context {
    service: Service,
    local: SocketAddr,
}

/// The whole service as routes. `local` is named in URLs when a client sends no usable `Host`.
pub fn router(service: Service, local: SocketAddr) -> Router {
    let context = Context { service, local };
    Router::new()
        .merge(v1::routes())
        .merge(v2::routes())
        .merge(blob::routes())
        .merge(rest::routes())
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .layer(middleware::from_fn_with_state(context.clone(), count))
        .with_state(context)
}

impl Context {
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        let header = headers.get(header::AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        self.service.tokens().verify(header, self.service.now())
    }

    /// A signed URL under which this client reaches the blob `id`.
    fn signed_url(&self, headers: &HeaderMap, id: i64, permission: Permission) -> SecretUrl {
        let service = &self.service;
        let ttl = service.config().url_ttl;
        let expires = service.now().checked_add(ttl);
        let expires = expires.unwrap_or(jiff::Timestamp::MAX);
        service
            .signer()
            .sign(&self.base(headers), id, permission, expires)
    }

    fn base(&self, headers: &HeaderMap) -> Url {
        if let Some(base) = &self.service.config().base_url {
            return base.clone();
        }
        let host = headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok());
        let authority = host.and_then(|host| host.parse::<Authority>().ok());
        let from_host = authority.and_then(|host| Url::parse(&format!("http://{host}/")).ok());
        from_host.unwrap_or_else(|| {
            Url::parse(&format!("http://{}/", self.local)).expect("an address and port are a URL")
        })
    }
}

/// Marks an answer with what it was an answer to, for [`count`].
fn answer(operation: Operation, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.extensions_mut().insert(operation);
    response
}

/// The operation of a request is known to its handler only. Neither path nor query is logged: both
/// may hold a signature.
async fn count(State(context): State<Context>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    let operation = response
        .extensions()
        .get()
        .copied()
        .unwrap_or(Operation::Other);
    let code = response.status().as_u16();
    context.service.metrics().answered(operation, code);
    tracing::debug!(?operation, %method, code, "answered");
    response
}

/// Logs a failure of the service itself; true if it is one. All others are the client's to hear.
fn log_internal(error: &Error) -> bool {
    let internal = matches!(error, Error::Unsynced(_) | Error::Io(_) | Error::Db(_));
    if internal {
        tracing::error!(%error, "a request failed inside the service");
    }
    internal
}

async fn health(State(context): State<Context>) -> Response {
    match context.service.blocking(Entries::ping).await {
        Ok(()) => "ok\n".into_response(),
        Err(error) => {
            log_internal(&error);
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the database cannot be read\n",
            )
                .into_response()
        }
    }
}

async fn metrics(State(context): State<Context>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, context.service.metrics().render()).into_response()
}
