//! The layer cache: what an export and an import are, on top of the Actions client.

pub mod go_duration;
pub mod spec;
