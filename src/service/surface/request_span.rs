//! The span of a request, for a collector.

use axum::extract::Request;

use crate::{
    service::metrics::Operation,
    telemetry::trace::{TraceSpan, Tracer},
};

/// W3C's header of the client's span.
const TRACEPARENT: &str = "traceparent";

/// What is known of a request once its answer has left.
pub(super) struct Answered<'a> {
    pub(super) operation: Operation,
    /// None if its client has given it up.
    pub(super) status: Option<u16>,
    pub(super) reason: Option<&'a str>,
    pub(super) repository: Option<&'a str>,
    pub(super) scope: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    /// Bytes of content that came or went.
    pub(super) bytes: Option<u64>,
}

/// Begins one, under the client's if that says which.
pub(super) fn begin(tracer: Option<&Tracer>, request: &Request) -> TraceSpan {
    let Some(tracer) = tracer else {
        return TraceSpan::default();
    };
    let parent = request.headers().get(TRACEPARENT);
    let parent = parent.and_then(|value| value.to_str().ok());
    tracer.request(parent, request.method().as_str())
}

/// Sets what is known at the end. No URL is among it: some are signed.
pub(super) fn finish(span: &mut TraceSpan, answered: &Answered<'_>) {
    if !span.is_recorded() {
        return;
    }
    span.rename(|| format!("serve {}", answered.operation.name()));
    for (name, value) in [
        ("buildkit_gha.repository", answered.repository),
        ("buildkit_gha.scope", answered.scope),
        ("buildkit_gha.key", answered.key),
    ] {
        if let Some(value) = value {
            span.set(name, || value);
        }
    }
    if let Some(bytes) = answered.bytes {
        span.set("buildkit_gha.bytes", || bytes);
    }
    match answered.status {
        None => span.fail("given up by its client"),
        Some(status) => {
            span.set("http.response.status_code", || u64::from(status));
            // What a client does wrong is no failure of the server, as OpenTelemetry has it.
            if status >= 500 {
                span.fail(answered.reason.unwrap_or_default());
            }
        }
    }
}
