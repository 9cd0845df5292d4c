//! The calls that the interceptor changes: `Control.Solve`, `LLBBridge.Solve`, `Control.Status`
//! and `TraceService.Export`. Each has one request message, which is read whole before the call is opened.

use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use http::{Request, request::Parts};

use super::{
    edit::{self, FinishEditor},
    frame::{self, FrameError, Messages},
    head,
    proxy::{self, Outcome, Respond},
    pump,
};
use crate::gateway::interceptor::{GrpcStatus, Interceptor, StatusEditor};

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
pub(crate) async fn carry(
    method: Method,
    request: Request<RecvStream>,
    mut respond: Respond,
    callee: SendRequest<Bytes>,
    interceptor: &dyn Interceptor,
) -> Outcome {
    let (parts, mut body) = request.into_parts();
    let changed = tokio::select! {
        _ = pump::left(&mut respond) => return Outcome::Left,
        changed = change(method, &parts, &mut body, interceptor) => changed,
    };
    match changed {
        Ok(changed) => call(parts, changed, respond, callee).await,
        Err(Refused::Status(status)) => proxy::answer(&status, &mut respond),
        Err(Refused::Left) => Outcome::Left,
    }
}

/// What goes on instead of what came.
struct Changed {
    message: Bytes,
    editor: Option<Box<dyn StatusEditor>>,
}

/// Why a request goes no further.
enum Refused {
    /// Its caller is told so.
    Status(GrpcStatus),
    /// Its caller has left.
    Left,
}

impl From<GrpcStatus> for Refused {
    fn from(status: GrpcStatus) -> Self {
        Self::Status(status)
    }
}

impl From<FrameError> for Refused {
    fn from(error: FrameError) -> Self {
        Self::Status(error.into())
    }
}

async fn change(
    method: Method,
    parts: &Parts,
    body: &mut RecvStream,
    interceptor: &dyn Interceptor,
) -> Result<Changed, Refused> {
    let message = read_one(body).await?;
    Ok(match method {
        Method::Solve => {
            let solve = interceptor.solve(message).await?;
            Changed {
                message: solve.request,
                editor: Some(Box::new(FinishEditor::new(solve.finish))),
            }
        }
        Method::LlbSolve => {
            let build_ref = parts.headers.get(BUILD_ID);
            let build_ref = build_ref.and_then(|value| value.to_str().ok());
            Changed {
                message: interceptor.llb_solve(build_ref, message).await?,
                editor: None,
            }
        }
        Method::Trace => Changed {
            message: interceptor.trace(message),
            editor: None,
        },
        Method::Status => {
            let editor = interceptor.status(&message)?;
            Changed {
                message,
                editor: Some(editor),
            }
        }
    })
}

/// The one message of a request.
async fn read_one(body: &mut RecvStream) -> Result<Bytes, Refused> {
    let mut messages = Messages::default();
    let mut first = None;
    while let Some(data) = body.data().await {
        let data = data.map_err(|_| Refused::Left)?;
        messages.push(&data);
        let _ = body.flow_control().release_capacity(data.len());
        while let Some(message) = messages.pop()? {
            if first.replace(message).is_some() {
                return Err(FrameError::NotOne(2).into());
            }
        }
    }
    messages.end()?;
    first.ok_or(FrameError::NotOne(0).into())
}

/// Opens the call with the changed message and brings its response back.
async fn call(
    parts: Parts,
    changed: Changed,
    mut respond: Respond,
    callee: SendRequest<Bytes>,
) -> Outcome {
    let prepared = head::request(&Request::from_parts(parts, ()));
    let prepared = prepared.and_then(|head| Ok((head, frame::encode(&changed.message)?)));
    let (mut onward, frame) = match prepared {
        Ok(prepared) => prepared,
        Err(status) => return proxy::answer(&status, &mut respond),
    };
    head::forget_length(onward.headers_mut());
    let (response, mut send) = match proxy::open(callee, onward, false, &mut respond).await {
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
                return Ok(());
            };
            let pumped = edit::pump_edited(&mut body, &mut back, editor.as_mut()).await;
            pumped.or_else(|broken| proxy::explain(broken, &mut back))
        };
        proxy::both(upload, download).await
    };
    proxy::conclude(&outcome, &mut send, &mut respond)
}
