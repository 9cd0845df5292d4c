//! buildkit-gha: Docker builds use the GitHub Actions cache as their remote layer cache.
//!
//! `docs/ARCHITECTURE.md` is the map: modules, who may import whom, and one layer followed out and
//! in.

pub mod actions;
pub mod admin;
pub(crate) mod app;
pub mod cache;
pub mod cli;
pub(crate) mod config;
pub mod content;
pub mod digest;
pub(crate) mod doctor;
pub(crate) mod error_chain;
pub mod gateway;
pub mod http1;
pub mod index_format;
pub mod lifecycle;
pub(crate) mod maintenance;
pub mod net;
pub(crate) mod otlp;
pub mod proto;
pub mod protocol;
pub mod secret;
pub mod service;
pub mod stats;
pub(crate) mod telemetry;
pub mod units;
pub mod wire;
