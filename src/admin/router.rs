//! The routes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::StreamExt as _;
use serde::Deserialize;

use super::{control::Control, drain::Drains};
use crate::{stats::Stats, units::duration};

/// How long a drain waits unless the request says otherwise.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(5);

/// What the routes need.
#[derive(Clone)]
pub(super) struct Routes {
    pub control: Arc<dyn Control>,
    pub drains: Drains,
}

impl Routes {
    pub fn new(control: Arc<dyn Control>) -> Self {
        let drains = Drains::default();
        Self { control, drains }
    }

    /// What anybody who can connect may know.
    pub fn probes(&self) -> Router {
        Self::probe_routes().with_state(self.clone())
    }

    /// All of them.
    pub fn all(&self) -> Router {
        Self::probe_routes()
            .route("/v1/stats", get(stats))
            .route("/v1/drain", post(drain))
            .with_state(self.clone())
    }

    fn probe_routes() -> Router<Self> {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
    }
}

async fn ready(State(routes): State<Routes>) -> Response {
    let unready = if routes.drains.any() {
        Some("it is being drained".to_owned())
    } else {
        routes.control.unready().await
    };
    match unready {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(routes): State<Routes>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, routes.control.metrics()).into_response()
}

async fn stats(State(routes): State<Routes>) -> Json<Stats> {
    Json(routes.control.stats())
}

#[derive(Deserialize)]
struct DrainQuery {
    timeout: Option<String>,
}

async fn drain(State(routes): State<Routes>, Query(query): Query<DrainQuery>) -> Response {
    let timeout = query
        .timeout
        .as_deref()
        .map_or(Ok(DRAIN_TIMEOUT), duration::parse);
    let timeout = match timeout {
        Ok(timeout) => timeout,
        Err(error) => {
            let words = format!("timeout: {error}\n");
            return (StatusCode::BAD_REQUEST, words).into_response();
        }
    };
    let statuses = routes.drains.begin().run(routes.control, timeout);
    let lines = statuses.map(|status| Ok::<_, Infallible>(status.to_json()));
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (content_type, Body::from_stream(lines)).into_response()
}
