//! The protocols: each parses, calls the rules and words the answer. No SQL and no rules here.

mod access;
mod azure;
mod blob;
mod context;
mod direct;
mod fallback;
mod forgejo;
mod forgejo_headers;
mod forward;
mod forwarded;
mod gitea;
mod page;
mod replicas;
mod request_span;
mod response;
mod rest;
mod upstream;
mod v1;
mod v2;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
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
    access::{Access, AccessRecord},
    context::{AppState, Context},
    forward::Forwarder,
    forwarded::ProxyTrust,
    response::{log_failure, refusal},
    upstream::Upstream,
};
use super::{api_error::ApiError, instance::Service, metrics::Operation};
use crate::{
    http1::{Peer, PeerPermit},
    lifecycle::run_blocking,
    protocol::identity,
};

/// Who asks whether the service is alive.
const PROBES: [&str; 2] = ["/healthz", "/metrics"];

/// The whole service as routes. `local` is named in URLs when a client sends no usable `Host`.
pub(super) fn router(service: Service, local: SocketAddr) -> Router {
    let upstream = service.config().upstream_results.clone();
    let state = AppState {
        upstream: upstream.map(|url| Arc::new(Upstream::new(url))),
        service,
        local,
        told_of_proxy: Arc::default(),
        forwarder: Arc::new(Forwarder::to_replicas()),
    };
    let page = if state.service.config().page {
        page::routes()
    } else {
        Router::new()
    };
    Router::new()
        .merge(page)
        .merge(v1::routes())
        .merge(forgejo::routes())
        .merge(gitea::routes())
        .merge(v2::routes())
        .merge(blob::routes())
        .merge(rest::routes())
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .fallback(fallback::forward)
        .layer(middleware::from_fn_with_state(state.clone(), count))
        .with_state(state)
}

/// Counts requests and writes their lines. The operation is known to the handler only.
async fn count(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let config = state.service.config();
    let proxy_trust = ProxyTrust {
        peer: request.extensions().get::<Peer>().map(|peer| peer.0.ip()),
        trusted: &config.trusted_proxies,
        tls: state.service.tls().is_some(),
    };
    let probe = PROBES.contains(&request.uri().path());
    let client = proxy_trust.client(request.headers());
    let access = Access::new(client);
    request.extensions_mut().insert(access.clone());
    let permit = request.extensions().get::<Arc<PeerPermit>>();
    let permit = permit.map(|permit| Arc::new(permit.request()));
    if let Some(permit) = &permit {
        request.extensions_mut().insert(Arc::clone(permit));
    }
    let overloaded = !probe && permit.as_ref().is_some_and(|permit| !permit.may_serve());
    let metrics = state.service.metrics().clone();
    let mut record = AccessRecord::new(
        access.clone(),
        client,
        probe,
        config.access_log,
        permit,
        metrics,
    );
    let tracer = state.service.tracer().filter(|_| !probe);
    record.record_in(request_span::begin(tracer, &request));
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
    if let Some(denial) = access.denial(&response) {
        state.service.audit().record(denial).await;
    }
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

/// Says who answers, too, so that a runner can tell where it was led.
async fn health(context: Context) -> Response {
    let mut response = healthy(context).await;
    let headers = response.headers_mut();
    headers.insert(identity::SERVICE, identity::SERVE);
    response
}

async fn healthy(context: Context) -> Response {
    if let Err(error) = context.service.check_not_ending() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response();
    }
    match context
        .service
        .run(async |entries| entries.ping().await)
        .await
    {
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
    let service = context.service;
    // A database that cannot be read is what /healthz is for.
    let open_uploads = service.quotas().open_uploads();
    service.metrics().set_open_uploads(open_uploads);
    if let Ok(totals) = service.run(async |entries| entries.totals().await).await {
        service.metrics().set_totals(totals, service.now());
    }
    let metrics = service.metrics().clone();
    // It asks the kernel about files and disks.
    let rendered = run_blocking(move || Ok::<_, io::Error>(metrics.render())).await;
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    match rendered {
        Ok(text) => (content_type, text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
