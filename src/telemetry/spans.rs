//! The spans of the gateway, from outside in: what a line of the log or a trace belongs to.
//!
//! All are of the level `debug`: at `info` they cost nothing and change no line. Those of a build
//! carry its ref, as buildx and buildkitd show it; a remote call has it from the span around it.

use tracing::{Span, debug_span};

/// A client's connection.
pub fn connection(peer: &str) -> Span {
    debug_span!("connection", peer)
}

/// A client's session.
pub fn session(id: &str) -> Span {
    debug_span!("session", id)
}

/// A build, for as long as its Solve lasts.
pub fn build(reference: &str) -> Span {
    debug_span!("build", "build.ref" = reference)
}

/// A cache export of a build.
pub fn export(reference: &str) -> Span {
    debug_span!("export", "build.ref" = reference)
}

/// A cache import of a build.
pub fn import(reference: &str) -> Span {
    debug_span!("import", "build.ref" = reference)
}

/// One attempt of a call to a cache service.
pub fn remote_call(operation: &'static str) -> Span {
    debug_span!("remote call", operation)
}
