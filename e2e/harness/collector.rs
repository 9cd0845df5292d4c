//! A collector of OpenTelemetry traces.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde::Deserialize;

use super::{
    Lab, SOON,
    process::{Process, command},
};

/// A running collector, with OpenTelemetry's own types in it; `e2e/collector` is its source.
pub struct Collector {
    process: Process,
    /// Where it takes OTLP over gRPC.
    pub grpc: SocketAddr,
    /// Where it takes OTLP over HTTP.
    pub http: SocketAddr,
}

/// A span as the collector got it.
#[derive(Clone, Debug, Deserialize)]
pub struct CollectedSpan {
    /// `grpc` or `http`.
    pub via: String,
    /// The header of that name.
    #[serde(default)]
    pub authorization: String,
    /// `service.name` of whoever recorded it.
    pub service: String,
    pub name: String,
    pub trace: String,
    pub span: String,
    #[serde(default)]
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub error: String,
}

impl Collector {
    /// Starts it.
    pub fn start(lab: &Arc<Lab>) -> Self {
        let mut process = Process::start(lab, "collector", command(lab, "collector"));
        let (grpc, http) = process.until("it says where it listens", SOON, |log| {
            let address = |kind: &str| {
                let begin = format!("listening for {kind} on ");
                let line = log.lines().find_map(|line| line.strip_prefix(&begin))?;
                line.parse().ok()
            };
            Some((address("gRPC")?, address("HTTP")?))
        });
        Self {
            process,
            grpc,
            http,
        }
    }

    /// Waits until `enough` has something to say of all spans that have come.
    pub fn until<T>(
        &mut self,
        what: &str,
        mut enough: impl FnMut(&[CollectedSpan]) -> Option<T>,
    ) -> T {
        self.process.until(what, SOON, |log| enough(&spans(log)))
    }

    /// All that it has got so far.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        spans(&self.process.log())
    }
}

fn spans(log: &str) -> Vec<CollectedSpan> {
    // The last line may be in the middle of being written.
    let lines = log.lines().filter(|line| line.starts_with('{'));
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
