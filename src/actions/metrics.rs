//! What the metrics say of a remote call: one attempt, as HTTP answered it.

use super::{Call, Error, Kind};
use crate::telemetry::{Metrics, Outcome};

/// Counts an attempt that has ended, with the `body` that was sent.
pub(super) fn record(metrics: &Metrics, call: Call, body: usize, error: Option<&Error>) {
    let outcome = error.map_or(Outcome::Ok, |error| outcome(&error.kind));
    metrics.remote_call(call.words(), outcome);
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
