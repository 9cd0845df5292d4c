//! What is noted of every request that goes out.

use super::{
    Error, request::Request, response::Response, time_limit::TimeLimit, transport::Transport,
};

/// Sends a request, and logs it and how it failed. Nothing of its URL but the origin is told.
pub(super) async fn instrumented(
    transport: &Transport,
    request: Request,
    limit: TimeLimit,
) -> Result<Response, Error> {
    tracing::debug!(
        call = request.call.name(),
        origin = request.url.origin(),
        bytes = request.body.len(),
        "call"
    );
    let outcome = transport.send(request, limit).await;
    if let Err(error) = &outcome {
        tracing::debug!(call = error.call.name(), origin = error.origin, kind = ?error.kind,
            message = error.message, "call failed");
    }
    outcome
}
