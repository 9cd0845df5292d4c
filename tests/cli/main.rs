//! The command line of the built program: what it answers, and with which exit code.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod commands;
mod configuration_page;
mod gateway;
mod github;
mod healthcheck;
mod metrics_page;
mod program;
mod serve;
mod stats;
mod token;
