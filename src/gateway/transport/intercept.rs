//! The calls that the interceptor changes: `Control.Solve`, `LLBBridge.Solve`, `Control.Status`
//! and `TraceService.Export`. Each has one request message, which is read whole before the call is opened.

use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Request, request::Parts};

use super::{
    edit_response::{self, UnaryEditor},
    frame::{self, FrameError, MessageDecoder},
    head,
    proxy::{self, CallOutcome, Responder},
    pump,
};
use crate::gateway::interceptor::{GrpcStatus, Interceptor, StatusEditor};

/// The metadata by which a client says what its call is part of.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The metadata that ties a frontend's calls to the `Ref` of its `Control.Solve`.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// Which of them a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// `Control.Solve`.
    Solve,
    /// `LLBBridge.Solve`, which the interceptor may hold.
    LlbSolve,
    /// `Control.Status`.
    Status,
    /// `TraceService.Export`.
    Trace,
}

/// Carries a call that the interceptor changes.
pub(crate) async fn forward(
    method: Method,
    request: Request<RecvStream>,
    mut respond: Responder,
    callee: SendRequest<Bytes>,
    interceptor: &dyn Interceptor,
) -> CallOutcome {
    let (parts, mut body) = request.into_parts();
    let changed = tokio::select! {
        _ = pump::caller_reset(&mut respond) => return CallOutcome::Cancelled,
        changed = rewrite(method, &parts, &mut body, interceptor) => changed,
    };
    match changed {
        Ok(changed) => send(parts, changed, respond, callee).await,
        Err(error) => refuse(error, &mut respond),
    }
}

/// Ends a call whose request goes no further.
pub(crate) fn refuse(error: InterceptError, respond: &mut Responder) -> CallOutcome {
    match error {
        InterceptError::Status(status) => proxy::answer(&status, respond),
        InterceptError::CallerReset => CallOutcome::Cancelled,
    }
}

/// What a call says that it is part of.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT)?.to_str().ok()
}

/// What goes on instead of what came.
struct RewrittenRequest {
    message: Bytes,
    editor: Option<Box<dyn StatusEditor>>,
}

/// Why a request goes no further.
pub(crate) enum InterceptError {
    /// Its caller is told so.
    Status(GrpcStatus),
    /// Its caller has left.
    CallerReset,
}

impl From<GrpcStatus> for InterceptError {
    fn from(status: GrpcStatus) -> Self {
        Self::Status(status)
    }
}

impl From<FrameError> for InterceptError {
    fn from(error: FrameError) -> Self {
        Self::Status(error.into())
    }
}

async fn rewrite(
    method: Method,
    parts: &Parts,
    body: &mut RecvStream,
    interceptor: &dyn Interceptor,
) -> Result<RewrittenRequest, InterceptError> {
    let message = read_one(body).await?;
    Ok(match method {
        Method::Solve => {
            let traceparent = traceparent(&parts.headers);
            let solve = interceptor.solve(traceparent, message).await?;
            RewrittenRequest {
                message: solve.request,
                editor: Some(Box::new(UnaryEditor::new(solve.completion))),
            }
        }
        Method::LlbSolve => {
            let build_ref = parts.headers.get(BUILD_ID);
            let build_ref = build_ref.and_then(|value| value.to_str().ok());
            let solve = interceptor.llb_solve(build_ref, message).await?;
            RewrittenRequest {
                message: solve.request,
                editor: Some(Box::new(UnaryEditor::new(solve.completion))),
            }
        }
        Method::Trace => RewrittenRequest {
            message: interceptor.trace(message),
            editor: None,
        },
        Method::Status => {
            let editor = interceptor.status(&message)?;
            RewrittenRequest {
                message,
                editor: Some(editor),
            }
        }
    })
}

/// The one message of a request.
pub(crate) async fn read_one(body: &mut RecvStream) -> Result<Bytes, InterceptError> {
    let mut messages = MessageDecoder::default();
    let mut first = None;
    while let Some(data) = body.data().await {
        let data = data.map_err(|_| InterceptError::CallerReset)?;
        messages.push(&data);
        let _ = body.flow_control().release_capacity(data.len());
        while let Some(message) = messages.pop()? {
            if first.replace(message).is_some() {
                return Err(FrameError::MessageCount(2).into());
            }
        }
    }
    messages.end()?;
    first.ok_or(FrameError::MessageCount(0).into())
}

/// Opens the call with the changed message and brings its response back.
async fn send(
    parts: Parts,
    changed: RewrittenRequest,
    mut respond: Responder,
    callee: SendRequest<Bytes>,
) -> CallOutcome {
    let prepared = head::request(&Request::from_parts(parts, ()));
    let prepared = prepared.and_then(|head| Ok((head, frame::encode(&changed.message)?)));
    let (mut onward, frame) = match prepared {
        Ok(prepared) => prepared,
        Err(status) => return proxy::answer(&status, &mut respond),
    };
    head::forget_length(onward.headers_mut());
    let (response, mut send) = match proxy::open_call(callee, onward, false, &mut respond).await {
        Ok(opened) => opened,
        Err(ended) => return ended,
    };
    let outcome = {
        let upload = pump::send(&mut send, frame, true);
        let download = async {
            let Some(mut editor) = changed.editor else {
                return proxy::relay_response(response, &mut respond).await;
            };
            let head = proxy::relay_head(response, &mut respond, head::forget_length).await?;
            let Some((mut body, mut back)) = head else {
                editor.refused();
                return Ok(());
            };
            let pumped = edit_response::pump_edited(&mut body, &mut back, editor.as_mut()).await;
            pumped.or_else(|broken| proxy::end_broken_response(broken, &mut back))
        };
        proxy::join_directions(upload, download).await
    };
    proxy::propagate_reset(&outcome, &mut send, &mut respond)
}
