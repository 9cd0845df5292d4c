//! Where a collector is, and how it is spoken to: what `OTEL_EXPORTER_OTLP_…` says.

use std::{fmt, path::PathBuf, time::Duration};

use url::Url;

use crate::secret::Secret;

/// How long one call may take, as OpenTelemetry has it.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The wait before the second attempt of a call; doubled for the third.
const RETRY_WAIT: Duration = Duration::from_millis(500);

/// A collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// For gRPC its origin, for HTTP the whole URL.
    pub endpoint: Url,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Headers of each call; they may hold a token.
    pub headers: Vec<(String, Secret)>,
    /// How long one call may take.
    pub timeout: Duration,
    /// The authority that it is trusted by, in PEM; `None` for those of the system.
    pub certificate: Option<PathBuf>,
    /// Whether messages are compressed with gzip.
    pub gzip: bool,
    /// See [`RETRY_WAIT`].
    pub retry_wait: Duration,
}

impl Config {
    /// A collector of which no more is known.
    pub fn new(protocol: Protocol, endpoint: Url) -> Self {
        Self {
            endpoint,
            protocol,
            headers: Vec::new(),
            timeout: TIMEOUT,
            certificate: None,
            gzip: false,
            retry_wait: RETRY_WAIT,
        }
    }
}

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    #[default]
    Grpc,
    /// Protobuf over HTTP.
    HttpProtobuf,
}

impl Protocol {
    /// By its name in `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "grpc" => Some(Self::Grpc),
            "http/protobuf" => Some(Self::HttpProtobuf),
            _ => None,
        }
    }

    /// Where a collector listens by default.
    pub const fn default_endpoint(self) -> &'static str {
        match self {
            Self::Grpc => "http://localhost:4317",
            Self::HttpProtobuf => "http://localhost:4318",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
        })
    }
}
