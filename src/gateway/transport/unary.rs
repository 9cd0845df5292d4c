//! Calls of the gateway's own to buildkitd, each on a connection of its own: there are few.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};

use super::{
    frame::{self, FrameError, MessageDecoder},
    grpc::GRPC_STATUS,
    upstream::{self, ConnectError},
};
use crate::{
    gateway::interceptor::{Code, Daemon, GrpcStatus},
    net::Address,
};

/// The code of a call that succeeded.
const OK: &[u8] = b"0";

/// A gRPC message has at most this, and an answer is one message.
const MAX_ANSWER: usize = frame::PREFIX + frame::MAX_MESSAGE;

/// Why a call of the gateway's own has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Http2(#[from] h2::Error),
    #[error("the connection ended without an answer")]
    ConnectionClosed,
    #[error("the answer has no end")]
    TooLong,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("no call can have this path or metadata: {0}")]
    Request(#[from] http::Error),
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
}

impl From<CallError> for GrpcStatus {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Frame(error) => error.into(),
            CallError::Request(_) => Self::new(Code::InvalidArgument, error.to_string()),
            CallError::Connect(_) => Self::new(Code::Unavailable, format!("buildkit-gha: {error}")),
            error => Self::new(Code::Unavailable, format!("buildkitd: {error}")),
        }
    }
}

/// What buildkitd has answered.
pub(crate) struct Answer {
    /// With gRPC's framing. A call that was refused has none.
    body: Bytes,
    status: Option<HeaderValue>,
}

impl Answer {
    /// Its message, whatever the status.
    pub(crate) fn into_message(self) -> Result<Bytes, FrameError> {
        let mut messages = MessageDecoder::default();
        messages.push(&self.body);
        messages.pop()?.ok_or(FrameError::MessageCount(0))
    }
}

/// Makes a call to the buildkitd at `address`.
pub(crate) async fn call(
    address: &Address,
    path: &str,
    metadata: &[(&'static str, &str)],
    message: &[u8],
) -> Result<Answer, CallError> {
    let (request, frame) = (request(path, metadata)?, frame::encode(message)?);
    let (requests, connection) = upstream::connect(address).await?;
    let call = async {
        let (response, mut send) = requests.ready().await?.send_request(request, false)?;
        send.send_data(frame, true)?;
        let (head, mut pieces) = response.await?.into_parts();
        let mut body = BytesMut::new();
        while let Some(piece) = pieces.data().await {
            let piece = piece?;
            pieces.flow_control().release_capacity(piece.len())?;
            body.extend_from_slice(&piece);
            if body.len() > MAX_ANSWER {
                return Err(CallError::TooLong);
            }
        }
        let trailers = pieces.trailers().await?.unwrap_or_default();
        let status = trailers.get(GRPC_STATUS).or(head.headers.get(GRPC_STATUS));
        Ok(Answer {
            body: body.freeze(),
            status: status.cloned(),
        })
    };
    tokio::select! {
        answer = call => answer,
        ended = connection => {
            ended?;
            Err(CallError::ConnectionClosed)
        }
    }
}

fn request(path: &str, metadata: &[(&'static str, &str)]) -> Result<Request<()>, http::Error> {
    let uri = Uri::try_from(format!("http://localhost{path}"))?;
    let mut request = Request::builder().method(Method::POST).uri(uri);
    request = request
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    for (name, value) in metadata {
        request = request.header(HeaderName::from_static(name), *value);
    }
    request.body(())
}

/// Makes calls to one buildkitd that it must not refuse.
pub(crate) struct UnaryClient {
    address: Address,
}

impl UnaryClient {
    /// Calls what listens at `address`.
    pub(crate) fn new(address: Address) -> Self {
        Self { address }
    }
}

#[async_trait]
impl Daemon for UnaryClient {
    async fn call(
        &self,
        path: &'static str,
        metadata: &[(&'static str, &str)],
        message: Bytes,
    ) -> Result<Bytes, GrpcStatus> {
        let answer = call(&self.address, path, metadata, &message).await?;
        match answer.status.as_ref().map(HeaderValue::as_bytes) {
            Some(OK) => Ok(answer.into_message()?),
            status => {
                let code = Code::from_bytes(status.unwrap_or_default());
                Err(GrpcStatus::new(code, format!("buildkitd refused {path}")))
            }
        }
    }
}
