//! The cache against the embedded service over HTTP, over both API versions: what an export
//! leaves behind, and what an import gives back.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod calls;
#[cfg(feature = "e2e")]
mod conformance;
mod damage;
mod export;
mod fixture;
mod hostile;
mod import;
mod lossy;
mod lost;
mod pending;
mod presence;
mod relay;
mod replaced;
mod room;
mod scopes;
mod summary;
mod taken;
mod together;
