//! The embedded Actions cache service over real HTTP.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod blobs;
mod crash;
mod harness;
mod rest;
mod rules;
mod v1;
mod v2;
