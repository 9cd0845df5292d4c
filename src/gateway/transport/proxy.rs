//! One call from its caller to its callee, as it is: outside to buildkitd, and inside a session
//! to the user's client.

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
    server::SendResponse,
};
use http::Request;

use super::{
    head,
    pump::{self, PumpError},
};
use crate::gateway::interceptor::{Code, GrpcStatus};

/// A call's way back to its caller.
pub(crate) type Responder = SendResponse<Bytes>;

/// How a call ended, for those who serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// With an answer, be it one of ours.
    Finished,
    /// Its caller took it back.
    Cancelled,
}

/// How a call ended that was not answered in full.
#[derive(Debug)]
pub(crate) enum Aborted {
    /// The caller reset it, or its connection is gone: the callee must hear of it.
    ByCaller(Reason),
    /// The callee reset it: the caller must hear of it.
    ByCallee(Reason),
}

/// Forwards a call unchanged and returns when it is over.
pub(crate) async fn forward(
    request: Request<RecvStream>,
    mut respond: Responder,
    callee: SendRequest<Bytes>,
) -> CallOutcome {
    let onward = match head::request(&request) {
        Ok(onward) => onward,
        Err(status) => return answer(&status, &mut respond),
    };
    let mut body = request.into_body();
    let end = body.is_end_stream();
    let (response, mut send) = match open_call(callee, onward, end, &mut respond).await {
        Ok(opened) => opened,
        Err(ended) => return ended,
    };
    let outcome = {
        let upload = async {
            if end {
                Ok(())
            } else {
                pump::pump(&mut body, &mut send).await
            }
        };
        join_directions(upload, relay_response(response, &mut respond)).await
    };
    propagate_reset(&outcome, &mut send, &mut respond)
}

/// Opens a call at the callee. An error: it could not be opened and the caller has its answer, or the
/// caller has left.
pub(crate) async fn open_call(
    callee: SendRequest<Bytes>,
    onward: Request<()>,
    end: bool,
    respond: &mut Responder,
) -> Result<(ResponseFuture, SendStream<Bytes>), CallOutcome> {
    let opened = tokio::select! {
        _ = pump::caller_reset(respond) => return Err(CallOutcome::Cancelled),
        ready = callee.ready() => ready.and_then(|mut callee| callee.send_request(onward, end)),
    };
    match opened {
        Ok(opened) => Ok(opened),
        Err(error) => Err(answer(&connection_lost(&error), respond)),
    }
}

/// Runs both directions of a call until the response is over; what is left of the request then is
/// nobody's business, as a server may answer early.
pub(super) async fn join_directions(
    upload: impl Future<Output = Result<(), PumpError>>,
    download: impl Future<Output = Result<(), Aborted>>,
) -> Result<(), Aborted> {
    tokio::pin!(upload, download);
    tokio::select! {
        biased;
        downloaded = &mut download => return downloaded,
        uploaded = &mut upload => {
            if let Err(PumpError::Source(error)) = uploaded {
                return Err(Aborted::ByCaller(pump::reset_reason(&error)));
            }
            // A callee that takes no more of the request says why in its response.
        }
    }
    download.await
}

/// Passes a response on: head, body, trailers.
pub(super) async fn relay_response(
    response: ResponseFuture,
    respond: &mut Responder,
) -> Result<(), Aborted> {
    let Some((mut body, mut send)) = relay_head(response, respond, |_| ()).await? else {
        return Ok(());
    };
    let pumped = pump::pump(&mut body, &mut send).await;
    pumped.or_else(|broken| end_broken_response(broken, &mut send))
}

/// Passes a response's head on, after `edit`. None: the head was all of the response.
pub(crate) async fn relay_head(
    response: ResponseFuture,
    respond: &mut Responder,
    edit: impl FnOnce(&mut http::HeaderMap),
) -> Result<Option<(RecvStream, SendStream<Bytes>)>, Aborted> {
    let response = tokio::select! {
        reason = pump::caller_reset(respond) => return Err(Aborted::ByCaller(reason)),
        response = response => response,
    };
    let (mut parts, body) = match response {
        Ok(response) => response.into_parts(),
        Err(error) if error.is_reset() => {
            return Err(Aborted::ByCallee(pump::reset_reason(&error)));
        }
        Err(error) => {
            answer(&connection_lost(&error), respond);
            return Ok(None);
        }
    };
    let end = body.is_end_stream();
    edit(&mut parts.headers);
    match respond.send_response(head::response(parts), end) {
        Ok(send) => Ok((!end).then_some((body, send))),
        Err(error) => Err(Aborted::ByCaller(pump::reset_reason(&error))),
    }
}

/// What a response that broke off means. A callee whose connection is gone gets a status in its
/// name, in words for people.
pub(super) fn end_broken_response(
    broken: PumpError,
    send: &mut SendStream<Bytes>,
) -> Result<(), Aborted> {
    match broken {
        PumpError::Source(error) if error.is_reset() => {
            Err(Aborted::ByCallee(pump::reset_reason(&error)))
        }
        PumpError::Source(error) => {
            let told = send.send_trailers(connection_lost(&error).headers());
            told.map_err(|error| Aborted::ByCaller(pump::reset_reason(&error)))
        }
        PumpError::Sink(reason) => Err(Aborted::ByCaller(reason)),
    }
}

/// Tells the other side how a call ended.
pub(crate) fn propagate_reset(
    ended: &Result<(), Aborted>,
    callee: &mut SendStream<Bytes>,
    respond: &mut Responder,
) -> CallOutcome {
    match *ended {
        Ok(()) => {}
        Err(Aborted::ByCallee(reason)) => respond.send_reset(reason),
        Err(Aborted::ByCaller(reason)) => {
            callee.send_reset(reason);
            return CallOutcome::Cancelled;
        }
    }
    CallOutcome::Finished
}

/// Answers a call with a status of ours.
pub(crate) fn answer(status: &GrpcStatus, respond: &mut Responder) -> CallOutcome {
    match status.answer(respond) {
        Ok(()) => CallOutcome::Finished,
        Err(error) => {
            tracing::debug!(%status, %error, "the caller left before it was answered");
            CallOutcome::Cancelled
        }
    }
}

fn connection_lost(error: &h2::Error) -> GrpcStatus {
    let words = format!("buildkit-gha: the connection behind the gateway is gone: {error}");
    GrpcStatus::new(Code::Unavailable, words)
}
