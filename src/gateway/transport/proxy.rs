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
    pump::{self, Broken},
};
use crate::gateway::interceptor::{Code, GrpcStatus};

/// A call's way back to its caller.
pub(crate) type Respond = SendResponse<Bytes>;

/// How a call ended, for those who serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With an answer, be it one of ours.
    Over,
    /// Its caller took it back.
    Left,
}

/// How a call ended that was not answered in full.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The caller reset it, or its connection is gone: the callee must hear of it.
    CallerLeft(Reason),
    /// The callee reset it: the caller must hear of it.
    CalleeReset(Reason),
}

/// Forwards a call unchanged and returns when it is over.
pub(crate) async fn forward(
    request: Request<RecvStream>,
    mut respond: Respond,
    callee: SendRequest<Bytes>,
) -> Outcome {
    let onward = match head::request(&request) {
        Ok(onward) => onward,
        Err(status) => return answer(&status, &mut respond),
    };
    let mut body = request.into_body();
    let end = body.is_end_stream();
    let (response, mut send) = match open(callee, onward, end, &mut respond).await {
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
        both(upload, relay_response(response, &mut respond)).await
    };
    conclude(&outcome, &mut send, &mut respond)
}

/// Opens a call at the callee. An error: it could not be opened and the caller has its answer, or the
/// caller has left.
pub(crate) async fn open(
    callee: SendRequest<Bytes>,
    onward: Request<()>,
    end: bool,
    respond: &mut Respond,
) -> Result<(ResponseFuture, SendStream<Bytes>), Outcome> {
    let opened = tokio::select! {
        _ = pump::left(respond) => return Err(Outcome::Left),
        ready = callee.ready() => ready.and_then(|mut callee| callee.send_request(onward, end)),
    };
    match opened {
        Ok(opened) => Ok(opened),
        Err(error) => Err(answer(&lost(&error), respond)),
    }
}

/// Runs both directions of a call until the response is over; what is left of the request then is
/// nobody's business, as a server may answer early.
pub(crate) async fn both(
    upload: impl Future<Output = Result<(), Broken>>,
    download: impl Future<Output = Result<(), Ended>>,
) -> Result<(), Ended> {
    tokio::pin!(upload, download);
    tokio::select! {
        biased;
        downloaded = &mut download => return downloaded,
        uploaded = &mut upload => {
            if let Err(Broken::Source(error)) = uploaded {
                return Err(Ended::CallerLeft(pump::reason(&error)));
            }
            // A callee that takes no more of the request says why in its response.
        }
    }
    download.await
}

/// Passes a response on: head, body, trailers.
pub(crate) async fn relay_response(
    response: ResponseFuture,
    respond: &mut Respond,
) -> Result<(), Ended> {
    let Some((mut body, mut send)) = relay_head(response, respond, |_| ()).await? else {
        return Ok(());
    };
    let pumped = pump::pump(&mut body, &mut send).await;
    pumped.or_else(|broken| explain(broken, &mut send))
}

/// Passes a response's head on, after `edit`. None: the head was all of the response.
pub(crate) async fn relay_head(
    response: ResponseFuture,
    respond: &mut Respond,
    edit: impl FnOnce(&mut http::HeaderMap),
) -> Result<Option<(RecvStream, SendStream<Bytes>)>, Ended> {
    let response = tokio::select! {
        reason = pump::left(respond) => return Err(Ended::CallerLeft(reason)),
        response = response => response,
    };
    let (mut parts, body) = match response {
        Ok(response) => response.into_parts(),
        Err(error) if error.is_reset() => return Err(Ended::CalleeReset(pump::reason(&error))),
        Err(error) => {
            answer(&lost(&error), respond);
            return Ok(None);
        }
    };
    let end = body.is_end_stream();
    edit(&mut parts.headers);
    match respond.send_response(head::response(parts), end) {
        Ok(send) => Ok((!end).then_some((body, send))),
        Err(error) => Err(Ended::CallerLeft(pump::reason(&error))),
    }
}

/// What a response that broke off means. A callee whose connection is gone gets a status in its
/// name, in words for people.
pub(crate) fn explain(broken: Broken, send: &mut SendStream<Bytes>) -> Result<(), Ended> {
    match broken {
        Broken::Source(error) if error.is_reset() => Err(Ended::CalleeReset(pump::reason(&error))),
        Broken::Source(error) => {
            let told = send.send_trailers(lost(&error).headers());
            told.map_err(|error| Ended::CallerLeft(pump::reason(&error)))
        }
        Broken::Sink(reason) => Err(Ended::CallerLeft(reason)),
    }
}

/// Tells the other side how a call ended.
pub(crate) fn conclude(
    ended: &Result<(), Ended>,
    callee: &mut SendStream<Bytes>,
    respond: &mut Respond,
) -> Outcome {
    match *ended {
        Ok(()) => {}
        Err(Ended::CalleeReset(reason)) => respond.send_reset(reason),
        Err(Ended::CallerLeft(reason)) => {
            callee.send_reset(reason);
            return Outcome::Left;
        }
    }
    Outcome::Over
}

/// Answers a call with a status of ours.
pub(crate) fn answer(status: &GrpcStatus, respond: &mut Respond) -> Outcome {
    match status.answer(respond) {
        Ok(()) => Outcome::Over,
        Err(error) => {
            tracing::debug!(%status, %error, "the caller left before it was answered");
            Outcome::Left
        }
    }
}

fn lost(error: &h2::Error) -> GrpcStatus {
    let words = format!("buildkit-gha: the connection behind the gateway is gone: {error}");
    GrpcStatus::new(Code::Unavailable, words)
}
