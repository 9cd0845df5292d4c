//! Hands spans over to a collector: OTLP over gRPC or over HTTP.

use std::{io::Write as _, path::PathBuf};

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, InvalidHeaderName, InvalidHeaderValue, TE},
};
use http_body_util::BodyExt as _;
use prost::Message as _;
use tonic::Code;
use url::{Host, Url};

use super::config::{Config, Protocol};
use crate::proto::trace::ExportTraceServiceResponse;

/// The call of OTLP over gRPC.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How often a call is made that may pass. Spans that come meanwhile wait.
const ATTEMPTS: u32 = 3;

/// An answer says how many spans were refused, and why.
const MAX_ANSWER: usize = 64 << 10;

/// gRPC's flag of a message that is compressed, and its length.
const GRPC_PREFIX: usize = 5;

/// Sends spans to one collector.
#[derive(Debug)]
pub struct Exporter {
    client: reqwest::Client,
    config: Config,
    headers: HeaderMap,
}

/// Why a collector cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The certificate cannot be read.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// It is none.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE {0} holds no certificate: {1}")]
    Certificate(PathBuf, reqwest::Error),
    /// The connections could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Client(reqwest::Error),
    /// Not the name of a header.
    #[error("OTEL_EXPORTER_OTLP_HEADERS: {0}")]
    HeaderName(#[from] InvalidHeaderName),
    /// Not the value of one. It may be a token, so it is not shown.
    #[error("OTEL_EXPORTER_OTLP_HEADERS: a value has characters that no header can have")]
    HeaderValue(#[from] InvalidHeaderValue),
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No answer.
    #[error("{}", chain(.0))]
    Transport(#[from] reqwest::Error),
    /// An answer that is none of success.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// gRPC's status.
    #[error("it answers {0:?}: {1}")]
    Grpc(Code, String),
    /// The body of the answer is not what the protocol says.
    #[error("its answer is not OTLP: {0}")]
    Answer(String),
    /// Some were refused.
    #[error("it refuses {0} spans: {1}")]
    Rejected(i64, String),
}

impl SendError {
    /// Whether another attempt may do better, as OTLP says.
    fn may_pass(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Grpc(code, _) => matches!(
                code,
                Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::Aborted
                    | Code::OutOfRange
                    | Code::Unavailable
                    | Code::DataLoss
            ),
            Self::Answer(_) | Self::Rejected(..) => false,
        }
    }
}

impl Exporter {
    /// Sets the connections up; nothing is sent yet.
    pub fn new(config: Config) -> Result<Self, SetupError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let mut value = HeaderValue::from_str(value.expose())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(name.as_str())?, value);
        }
        let mut builder = reqwest::Client::builder()
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("buildkit-gha/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&config.endpoint) {
            builder = builder.no_proxy();
        }
        if config.protocol == Protocol::Grpc {
            builder = builder.http2_prior_knowledge();
        }
        if let Some(path) = &config.certificate {
            let pem = std::fs::read(path);
            let pem = pem.map_err(|error| SetupError::File(path.clone(), error))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            let certificates =
                certificates.map_err(|error| SetupError::Certificate(path.clone(), error))?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(SetupError::Client)?;
        Ok(Self {
            client,
            config,
            headers,
        })
    }

    /// Sends an `ExportTraceServiceRequest`, in a few attempts.
    pub async fn send(&self, message: &Bytes) -> Result<(), SendError> {
        let mut wait = self.config.retry_wait;
        for _ in 1..ATTEMPTS {
            match self.attempt(message).await {
                Err(error) if error.may_pass() => {
                    tracing::debug!(%error, "spans are sent again");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                ended => return ended,
            }
        }
        self.attempt(message).await
    }

    async fn attempt(&self, message: &Bytes) -> Result<(), SendError> {
        let answer = match self.config.protocol {
            Protocol::Grpc => self.over_grpc(message).await?,
            Protocol::HttpProtobuf => self.over_http(message).await?,
        };
        let answer = ExportTraceServiceResponse::decode(answer);
        let answer = answer.map_err(|error| SendError::Answer(error.to_string()))?;
        match answer.partial_success {
            Some(partial) if partial.rejected_spans > 0 => Err(SendError::Rejected(
                partial.rejected_spans,
                partial.error_message,
            )),
            _ => Ok(()),
        }
    }

    async fn over_http(&self, message: &Bytes) -> Result<Bytes, SendError> {
        let mut call = self.client.post(self.config.endpoint.clone());
        call = call.headers(self.headers.clone());
        call = call.header(CONTENT_TYPE, "application/x-protobuf");
        let body = if self.config.gzip {
            call = call.header(CONTENT_ENCODING, "gzip");
            gzip(message)
        } else {
            message.clone()
        };
        let response = call.body(body).send().await?;
        match response.status() {
            StatusCode::OK => read(response.into()).await.map(|(body, _)| body),
            status => Err(SendError::Status(status)),
        }
    }

    async fn over_grpc(&self, message: &Bytes) -> Result<Bytes, SendError> {
        let mut url = self.config.endpoint.clone();
        url.set_path(GRPC_PATH);
        let mut call = self.client.post(url).headers(self.headers.clone());
        call = call.header(CONTENT_TYPE, "application/grpc");
        call = call.header(TE, "trailers");
        if self.config.gzip {
            call = call.header("grpc-encoding", "gzip");
        }
        let body = frame(message, self.config.gzip);
        let response: http::Response<reqwest::Body> = call.body(body).send().await?.into();
        if response.status() != StatusCode::OK {
            return Err(SendError::Status(response.status()));
        }
        let head = response.headers().clone();
        let (mut body, trailers) = read(response).await?;
        grpc_status(trailers.as_ref().unwrap_or(&head))?;
        if body.len() < GRPC_PREFIX {
            return Err(SendError::Answer("it has no message".to_owned()));
        }
        Ok(body.split_off(GRPC_PREFIX))
    }
}

/// The body of an answer, and its trailers.
async fn read(
    response: http::Response<reqwest::Body>,
) -> Result<(Bytes, Option<HeaderMap>), SendError> {
    let mut body = response.into_body();
    let (mut bytes, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if bytes.len() + data.len() > MAX_ANSWER => {
                return Err(SendError::Answer("it has no end".to_owned()));
            }
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((bytes.freeze(), trailers))
}

fn grpc_status(headers: &HeaderMap) -> Result<(), SendError> {
    let Some(status) = headers.get("grpc-status") else {
        return Err(SendError::Answer("it has no status".to_owned()));
    };
    match Code::from_bytes(status.as_bytes()) {
        Code::Ok => Ok(()),
        code => {
            let message = headers.get("grpc-message");
            let message = message.and_then(|message| message.to_str().ok());
            Err(SendError::Grpc(
                code,
                message.unwrap_or_default().to_owned(),
            ))
        }
    }
}

fn frame(message: &[u8], compressed: bool) -> Bytes {
    let message = if compressed {
        gzip(message)
    } else {
        Bytes::copy_from_slice(message)
    };
    let mut frame = BytesMut::with_capacity(GRPC_PREFIX + message.len());
    frame.put_u8(compressed.into());
    frame.put_u32(u32::try_from(message.len()).expect("a batch of spans is far below 4 GiB"));
    frame.extend_from_slice(&message);
    frame.freeze()
}

fn gzip(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(message).and_then(|()| encoder.finish());
    written.expect("a vector takes all bytes").into()
}

/// A collector on this machine is reached without a proxy, as with Go's clients.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An error and its causes: reqwest's own says little. Its URL may hold a token.
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        "no connection".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
