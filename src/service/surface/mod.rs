//! The protocols: each parses, calls the rules and words the answer. No SQL and no rules here.

mod access;
mod azure;
mod blob;
mod context;
mod forwarded;
mod rest;
mod v1;
mod v2;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::BodyExt as _;

use self::{
    access::{Access, AccessRecord, Reason},
    context::Context,
    forwarded::ProxyTrust,
};
use super::{
    Service,
    api_error::{ApiError, ErrorKind},
    entries::Entries,
    metrics::Operation,
};
use crate::http1::{Peer, PeerPermit};

/// Who asks whether the service is alive.
const PROBES: [&str; 2] = ["/healthz", "/metrics"];

/// What all requests share.
#[derive(Clone)]
struct AppState {
    service: Service,
    local: SocketAddr,
    /// Whether people were told of a proxy that they have not named.
    told_of_proxy: Arc<AtomicBool>,
}

/// The whole service as routes. `local` is named in URLs when a client sends no usable `Host`.
pub fn router(service: Service, local: SocketAddr) -> Router {
    let state = AppState {
        service,
        local,
        told_of_proxy: Arc::default(),
    };
    Router::new()
        .merge(v1::routes())
        .merge(v2::routes())
        .merge(blob::routes())
        .merge(rest::routes())
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(state.clone(), count))
        .with_state(state)
}

/// The answer to a request, worded by `error_response` if it failed, and marked with what it was an answer
/// to, for [`count`].
fn respond<T: IntoResponse>(
    operation: Operation,
    result: Result<T, ApiError>,
    error_response: fn(&ApiError) -> Response,
) -> Response {
    let mut response = match result {
        Ok(answer) => answer.into_response(),
        Err(error) => refusal(&error, error_response),
    };
    response.extensions_mut().insert(operation);
    response
}

/// The answer to a request that failed. What its client reads stands in the access log, too.
fn refusal(error: &ApiError, error_response: fn(&ApiError) -> Response) -> Response {
    log_failure(error);
    let mut response = error_response(error);
    if response.extensions().get::<Reason>().is_none() {
        response.extensions_mut().insert(Reason(error.to_string()));
    }
    response
}

/// Counts requests and writes their lines. The operation is known to the handler only.
async fn count(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let config = state.service.config();
    let access = Access::default();
    request.extensions_mut().insert(access.clone());
    let proxy_trust = ProxyTrust {
        peer: request.extensions().get::<Peer>().map(|peer| peer.0.ip()),
        trusted: &config.trusted_proxies,
        tls: state.service.tls().is_some(),
    };
    let probe = PROBES.contains(&request.uri().path());
    let client = proxy_trust.client(request.headers());
    let permit = request.extensions().get::<Arc<PeerPermit>>().cloned();
    let overloaded = !probe && permit.as_ref().is_some_and(|permit| !permit.may_serve());
    let record = AccessRecord::new(access, client, probe, config.access_log, permit);
    let received = record.received();
    let request = request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            received.fetch_add(bytes, Ordering::Relaxed);
            frame
        }))
    });
    let head_only = request.method() == Method::HEAD;
    let response = if overloaded {
        refusal(&ApiError::overloaded(), too_many_connections)
    } else {
        next.run(request).await
    };
    let operation = response.extensions().get().copied();
    let operation = operation.unwrap_or(Operation::Other);
    let code = response.status().as_u16();
    state.service.metrics().answered(operation, code);
    let promised = response.headers().get(header::CONTENT_LENGTH);
    let promised = promised.and_then(|value| value.to_str().ok()?.parse().ok());
    record.answered(operation, response, promised.filter(|_| !head_only))
}

/// The answer to a request for which there is no place. Its body is not read.
fn too_many_connections(error: &ApiError) -> Response {
    let headers = [(header::RETRY_AFTER, "1"), (header::CONNECTION, "close")];
    let status = StatusCode::SERVICE_UNAVAILABLE;
    (status, headers, format!("{error}\n")).into_response()
}

/// Logs a failure of the service itself. All others are the client's to hear, but a full disk is the
/// operator's, too.
fn log_failure(error: &ApiError) {
    if error.kind() == ErrorKind::StorageFull {
        tracing::warn!(%error, "an upload is refused");
    }
    if error.is_internal() {
        tracing::error!(%error, "a request failed inside the service");
    }
}

async fn health(context: Context) -> Response {
    match context.service.blocking(Entries::ping).await {
        Ok(()) => "ok\n".into_response(),
        Err(error) => {
            log_failure(&error);
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the database cannot be read\n",
            )
                .into_response()
        }
    }
}

async fn metrics(context: Context) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, context.service.metrics().render()).into_response()
}
