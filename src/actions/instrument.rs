//! What is noted of every request that goes out: spans, the log, and the metrics.

use tracing::Instrument as _;

use super::{
    Call, ClientConfig, Error, Http, Kind, measured::Measured, request::Request,
    response::Response, time_limit::TimeLimit,
};
use crate::telemetry::{Metrics, Outcome, spans, trace::TraceSpan};

/// Sends a request as the `attempt`-th of its call, logs it and how it failed, and counts it. Nothing of its
/// URL but the origin is told.
pub(super) async fn instrumented(
    http: &Http,
    config: &ClientConfig,
    attempt: u32,
    request: Request,
    limit: TimeLimit,
) -> Result<Response, Error> {
    let operation = request.call.name();
    config.observer.calling(request.call);
    let log = spans::remote_call(&config.span, operation);
    let trace = config.trace.call(operation, attempt, request.url.expose());
    send(http, trace, request, limit).instrument(log).await
}

async fn send(
    http: &Http,
    mut trace: TraceSpan,
    request: Request,
    limit: TimeLimit,
) -> Result<Response, Error> {
    tracing::debug!(
        call = request.call.name(),
        origin = request.url.origin(),
        bytes = request.body.len(),
        "call"
    );
    let (call, body) = (request.call, request.body.len());
    let metrics = http.metrics();
    let timer = metrics.begin_call(call.name());
    let result = http.transport().send(request, limit).await;
    if let Err(error) = &result {
        tracing::debug!(call = error.call.name(), origin = error.origin, kind = ?error.kind,
            message = error.message, "call failed");
    }
    count(metrics, call, body, result.as_ref().err());
    describe(&mut trace, call, body, &result);
    result.map(|response| {
        let response = response.measured_by(Measured {
            _timer: timer,
            _span: trace,
        });
        if call.reads() {
            response.counted_by(metrics.downloaded())
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

/// Tells a trace what came of an attempt.
fn describe(trace: &mut TraceSpan, call: Call, body: usize, result: &Result<Response, Error>) {
    if call == Call::UploadPart {
        trace.set("http.request.body.size", || body as u64);
    }
    match result {
        Ok(response) => {
            trace.set("http.response.status_code", || {
                u64::from(response.status().as_u16())
            });
            if let Some(length) = response.content_length() {
                trace.set("http.response.body.size", || length);
            }
        }
        Err(error) => {
            let outcome = outcome(&error.kind);
            trace.set("error.type", || outcome.name());
            // A key that is taken is an answer.
            if outcome != Outcome::Exists {
                trace.fail(&error.message);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::OPERATIONS;

    #[test]
    fn the_metrics_know_every_call() {
        let names = Call::ALL.map(|call| call.name().replace(' ', "_"));
        assert_eq!(names.as_slice(), OPERATIONS.as_slice());
    }
}
