//! Calls of the gateway's own to buildkitd, each on a connection of its own: there are few.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
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

/// Why a call of the gateway's own has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Http2(#[from] h2::Error),
    #[error("the connection ended without an answer")]
    ConnectionClosed,
    #[error("the answer has no message")]
    NoMessage,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("no call can have this path or metadata: {0}")]
    Request(#[from] http::Error),
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
}

/// What buildkitd has answered.
pub(crate) struct Answer {
    /// Its first message. A call that was refused has none.
    message: Option<Bytes>,
    status: Option<HeaderValue>,
}

impl Answer {
    /// The message, whatever the status.
    pub(crate) fn into_message(self) -> Result<Bytes, CallError> {
        self.message.ok_or(CallError::NoMessage)
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
        let (head, mut body) = response.await?.into_parts();
        let mut messages = MessageDecoder::default();
        let mut message = None;
        while let Some(data) = body.data().await {
            let data = data?;
            messages.push(&data);
            body.flow_control().release_capacity(data.len())?;
            message = message.or(messages.pop()?);
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        let status = trailers.get(GRPC_STATUS).or(head.headers.get(GRPC_STATUS));
        Ok(Answer {
            message,
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
        let unanswered = |error: CallError| {
            GrpcStatus::new(Code::Unavailable, format!("buildkitd, {path}: {error}"))
        };
        let answer = call(&self.address, path, metadata, &message).await;
        let answer = answer.map_err(unanswered)?;
        match answer.status.as_ref().map(HeaderValue::as_bytes) {
            Some(OK) => answer.into_message().map_err(unanswered),
            status => {
                let code = Code::from_bytes(status.unwrap_or_default());
                Err(GrpcStatus::new(code, format!("buildkitd refused {path}")))
            }
        }
    }
}
