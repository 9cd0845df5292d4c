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
    access::{Access, Line, Reason},
    context::{Context, Refused},
    forwarded::ProxyTrust,
};
use super::{Service, entries::Entries, error::Error, metrics::Operation, places::Placed};
use crate::http1::Peer;

/// Who asks whether the service is alive.
const PROBES: [&str; 2] = ["/healthz", "/metrics"];

/// What all requests share.
#[derive(Clone)]
struct Shared {
    service: Service,
    local: SocketAddr,
    /// Whether people were told of a proxy that they have not named.
    told_of_proxy: Arc<AtomicBool>,
}

/// The whole service as routes. `local` is named in URLs when a client sends no usable `Host`.
pub fn router(service: Service, local: SocketAddr) -> Router {
    let shared = Shared {
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
        .layer(middleware::from_fn_with_state(shared.clone(), count))
        .with_state(shared)
}

/// Marks an answer with what it was an answer to, for [`count`].
fn answer(operation: Operation, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.extensions_mut().insert(operation);
    response
}

/// The same for an answer that is a refusal, with what it says.
fn refusal(message: &str, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    let reason = Reason(message.to_owned());
    response.extensions_mut().insert(reason);
    response
}

/// Counts requests and writes their lines. The operation is known to the handler only.
async fn count(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let config = shared.service.config();
    let access = Access::default();
    request.extensions_mut().insert(access.clone());
    let proxy_trust = ProxyTrust {
        peer: request.extensions().get::<Peer>().map(|peer| peer.0.ip()),
        trusted: &config.trusted_proxies,
        tls: shared.service.tls().is_some(),
    };
    let probe = PROBES.contains(&request.uri().path());
    let client = proxy_trust.client(request.headers());
    let placed = request.extensions().get::<Arc<Placed>>().cloned();
    let crowded = !probe && placed.as_ref().is_some_and(|placed| !placed.admit());
    let line = Line::begin(access, client, probe, config.access_log, placed);
    let received = line.received();
    let request = request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            received.fetch_add(bytes, Ordering::Relaxed);
            frame
        }))
    });
    let head_only = request.method() == Method::HEAD;
    let response = if crowded {
        turned_away()
    } else {
        next.run(request).await
    };
    let operation = response.extensions().get().copied();
    let operation = operation.unwrap_or(Operation::Other);
    let code = response.status().as_u16();
    shared.service.metrics().answered(operation, code);
    let promised = response.headers().get(header::CONTENT_LENGTH);
    let promised = promised.and_then(|value| value.to_str().ok()?.parse().ok());
    line.answered(operation, response, promised.filter(|_| !head_only))
}

/// The answer to a request for which there is no place. Its body is not read.
fn turned_away() -> Response {
    let message = Error::Crowded.to_string();
    let headers = [(header::RETRY_AFTER, "1"), (header::CONNECTION, "close")];
    let answer = (
        StatusCode::SERVICE_UNAVAILABLE,
        headers,
        format!("{message}\n"),
    );
    refusal(&message, answer)
}

/// Logs a failure of the service itself; true if it is one. All others are the client's to hear,
/// but a full disk is the operator's, too.
fn log_internal(error: &Error) -> bool {
    if matches!(error, Error::Full) {
        tracing::warn!(%error, "an upload is refused");
    }
    let internal = matches!(error, Error::Unsynced(_) | Error::Io(_) | Error::Db(_));
    if internal {
        tracing::error!(%error, "a request failed inside the service");
    }
    internal
}

async fn health(context: Context) -> Response {
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

async fn metrics(context: Context) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, context.service.metrics().render()).into_response()
}
