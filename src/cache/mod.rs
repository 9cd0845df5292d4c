//! The layer cache: what an export and an import are, on top of the Actions client.

pub mod config;
pub mod go_duration;
pub mod graph;
pub mod manifest;
pub mod spec;
