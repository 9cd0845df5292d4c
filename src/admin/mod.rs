//! The admin socket of a gateway: HTTP for its operator, on a unix socket that nobody else may use, and
//! probes and metrics over TCP where the operator wants them.
//!
//! | route | where | what |
//! |---|---|---|
//! | `GET /healthz` | both | the process answers |
//! | `GET /readyz` | both | builds are taken: buildkitd answers, and nobody drains |
//! | `GET /metrics` | both | Prometheus' text |
//! | `GET /v1/stats` | socket | the last builds, see [`crate::stats::Stats`] |
//! | `POST /v1/drain?timeout=300s` | socket | waits for exports, see [`crate::stats::DrainStatus`] |
//!
//! What it tells comes from a [`Control`]; `client` is the side of the commands.

mod client;
mod config;
mod control;
mod drain;
mod router;
mod server;
#[cfg(test)]
mod tests;

pub use client::{AdminClient, AdminError};
pub use config::Config;
pub use control::Control;
pub use server::start;
