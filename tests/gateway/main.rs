//! The gateway between HTTP/2 peers, without BuildKit.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod floods;
mod health;
mod support;
mod transport;
