//! Calls of the gateway's own to a buildkitd: whether it answers, and what it says of itself.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Uri, header};

use crate::{
    gateway::transport::{
        frame::{self, FrameError, MessageDecoder},
        upstream::{self, ConnectError},
    },
    net::Address,
    wire::Fields,
};

/// How often a starting buildkitd is asked whether it answers.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a running buildkitd may take to answer before people are told: one that is busy
/// answers within a second.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// A call that every buildkitd answers; whatever it says, it is there.
const INFO: &str = "http://localhost/moby.buildkit.v1.Control/Info";

/// A gRPC message has at most this, and these answers are one message.
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
    #[error("the answer has no message")]
    NoMessage,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
}

/// Says at once if the buildkitd that the gateway fronts does not answer: else only its first
/// client would find out. It may come later, so this is no error.
pub(crate) async fn warn_if_silent(address: &Address) {
    if let Some(error) = silence(address).await {
        tracing::warn!(
            "--upstream {address}: no buildkitd answers there ({error}); every call fails until one does"
        );
    }
}

/// Why no buildkitd answers at `address`; `None` if one does.
pub(crate) async fn silence(address: &Address) -> Option<String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, call(address, INFO)).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => {
            let seconds = ANSWER_TIMEOUT.as_secs();
            Some(format!("no answer from {address} within {seconds} s"))
        }
    }
}

/// What the buildkitd at `address` calls its version, once it answers; empty for one that does not say.
pub(crate) async fn buildkitd_version(address: &Address) -> Result<String, CallError> {
    /// Field numbers of `InfoResponse` and `BuildkitVersion`.
    const VERSION: u32 = 1;
    const NUMBER: u32 = 2;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, unary_call(address, INFO)).await;
    let answer = answer.map_err(|_| CallError::Late(ANSWER_TIMEOUT))??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let version = field(&answer, VERSION).and_then(|version| field(version, NUMBER));
    Ok(version.map(text).unwrap_or_default())
}

fn field(message: &[u8], number: u32) -> Option<&[u8]> {
    let mut fields = Fields::new(message).map_while(Result::ok);
    fields.find(|field| field.number == number)?.payload().ok()
}

/// Returns when a buildkitd at `address` has answered a call.
pub(super) async fn poll_until_answered(address: &Address) {
    let mut every = tokio::time::interval(POLL_INTERVAL);
    loop {
        every.tick().await;
        match call(address, INFO).await {
            Ok(_) => return,
            Err(error) => tracing::trace!(%error, "buildkitd does not answer yet"),
        }
    }
}

/// Makes a call that has no arguments; the answer is its message.
pub(super) async fn unary_call(
    address: &Address,
    method: &'static str,
) -> Result<Bytes, CallError> {
    let mut messages = MessageDecoder::default();
    messages.push(&call(address, method).await?);
    messages.pop()?.ok_or(CallError::NoMessage)
}

/// Makes a call that has no arguments; the answer is the body, with gRPC's framing. A call that fails
/// has an empty one.
async fn call(address: &Address, method: &'static str) -> Result<Bytes, CallError> {
    let (requests, connection) = upstream::connect(address).await?;
    let call = async {
        let (response, mut body) = requests
            .ready()
            .await?
            .send_request(request(method), false)?;
        // One empty gRPC message.
        body.send_data(Bytes::from_static(&[0; frame::PREFIX]), true)?;
        let mut answer = response.await?.into_body();
        let mut bytes = BytesMut::new();
        while let Some(piece) = answer.data().await {
            let piece = piece?;
            answer.flow_control().release_capacity(piece.len())?;
            bytes.extend_from_slice(&piece);
            if bytes.len() > MAX_ANSWER {
                return Err(CallError::TooLong);
            }
        }
        Ok(bytes.freeze())
    };
    tokio::select! {
        answer = call => answer,
        ended = connection => {
            ended?;
            Err(CallError::ConnectionClosed)
        }
    }
}

fn request(method: &'static str) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(method);
    let headers = request.headers_mut();
    let grpc = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, grpc);
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    request
}
