//! OpenTelemetry's protocol as a client: spans go to a collector.
//!
//! One HTTP client carries both forms of it, gRPC and protobuf over HTTP, so that no second stack of either
//! comes in (ADR 57).

mod collector;
mod config;
mod exporter;

pub use collector::{Collector, connect};
pub use config::{Config, Protocol};
pub use exporter::Exporter;

#[cfg(test)]
mod tests;
