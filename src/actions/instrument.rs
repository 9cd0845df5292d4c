//! What is noted of every request that goes out: a span, the log, and the metrics.

use tracing::Instrument as _;

use super::{
    Call, ClientConfig, Error, Http, Kind, request::Request, response::Response,
    time_limit::TimeLimit,
};
use crate::telemetry::{Metrics, Outcome, spans};

/// Sends a request for the job that `config` names, logs it and how it failed, and counts it. Nothing of
/// its URL but the origin is told.
pub(super) async fn instrumented(
    http: &Http,
    config: &ClientConfig,
    request: Request,
    limit: TimeLimit,
) -> Result<Response, Error> {
    let span = spans::remote_call(&config.span, request.call.name());
    config.observer.calling(request.call);
    send(http, request, limit).instrument(span).await
}

async fn send(http: &Http, request: Request, limit: TimeLimit) -> Result<Response, Error> {
    tracing::debug!(
        call = request.call.name(),
        origin = request.url.origin(),
        bytes = request.body.len(),
        "call"
    );
    let (call, body) = (request.call, request.body.len());
    let result = http.transport().send(request, limit).await;
    if let Err(error) = &result {
        tracing::debug!(call = error.call.name(), origin = error.origin, kind = ?error.kind,
            message = error.message, "call failed");
    }
    count(http.metrics(), call, body, result.as_ref().err());
    result.map(|response| {
        if call.reads() {
            response.counted_by(http.metrics().downloaded())
        } else {
            response
        }
    })
}

/// Counts an attempt that has ended, with the `body` that was sent.
fn count(metrics: &Metrics, call: Call, body: usize, error: Option<&Error>) {
    let outcome = error.map_or(Outcome::Ok, |error| outcome(&error.kind));
    metrics.remote_call(call.name(), outcome);
    if outcome == Outcome::Ok && call == Call::UploadPart {
        metrics.uploaded().add(body as u64);
    }
}

fn outcome(kind: &Kind) -> Outcome {
    match kind {
        Kind::AlreadyExists => Outcome::Exists,
        Kind::Denied => Outcome::Denied,
        Kind::Throttled(_) => Outcome::Throttled,
        Kind::Unreachable(_) => Outcome::Unreachable,
        Kind::Timeout => Outcome::Timeout,
        _ => Outcome::Failed,
    }
}
