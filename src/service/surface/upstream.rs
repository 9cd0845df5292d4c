//! The way of a request to the results service upstream.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::{
    access::Reason,
    forward::{Forwarder, RequestHead},
};
use crate::{error_chain::error_chain, protocol::v2::ErrorBody, service::upstream::UpstreamUrl};

/// Most requests that are on their way to the results service: it judges their tokens, not we, so they get an eighth
/// of the connections and the cache has the others.
const MAX_REQUESTS: usize = 256;

/// What a client waits before it asks again when there was no permit for its request.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");

/// The way to the results service.
#[derive(Debug)]
pub(super) struct Upstream {
    url: UpstreamUrl,
    forwarder: Forwarder,
    permits: Arc<Semaphore>,
}

impl Upstream {
    /// The way to the service at `url`.
    pub(super) fn new(url: UpstreamUrl) -> Self {
        Self {
            forwarder: Forwarder::to_server(&url.with("/", None)),
            permits: Arc::new(Semaphore::new(MAX_REQUESTS)),
            url,
        }
    }

    /// The URL there of what a client has asked for here.
    pub(super) fn url_of(&self, head: &RequestHead) -> Url {
        self.url.with(head.path(), head.query())
    }

    /// Sends a request on to `url`, which is one of [`Self::url_of`].
    pub(super) async fn forward(&self, url: Url, head: RequestHead, body: Body) -> Response {
        let origin = url.origin().ascii_serialization();
        if head.is_forwarded() {
            let message = format!(
                "{origin} leads back here: --upstream-results-url must not be this service"
            );
            tracing::warn!("{message}");
            return refusal(StatusCode::LOOP_DETECTED, message);
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let message =
                format!("{MAX_REQUESTS} requests are on their way to {origin}: ask again");
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, message);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, RETRY_SOON);
            return response;
        };
        match self.forwarder.forward(url, head, body).await {
            Ok(response) => holding(permit, response),
            Err(error) => no_answer(&origin, &error),
        }
    }
}

/// Keeps the permit of a request until its answer has left.
fn holding(permit: OwnedSemaphorePermit, response: Response) -> Response {
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &permit;
            frame
        }))
    })
}

fn no_answer(origin: &str, error: &reqwest::Error) -> Response {
    let error = error_chain(error);
    tracing::warn!(
        upstream = origin,
        error,
        "the results service does not answer"
    );
    let message = format!("the results service behind this cache, {origin}, does not answer");
    refusal(StatusCode::BAD_GATEWAY, message)
}

/// A failure of ours, as clients of Twirp read it.
fn refusal(status: StatusCode, message: String) -> Response {
    let body = ErrorBody {
        code: "unavailable".to_owned(),
        msg: message.clone(),
    };
    let mut response = (status, Json(body)).into_response();
    response.extensions_mut().insert(Reason(message));
    response
}
