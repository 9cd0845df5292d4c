//! The spans that there are: their names and attributes. `docs/TRACES.md` has them for users.

use url::Url;

use super::{
    span::{TraceParent, TraceSpan},
    tracer::Tracer,
};
use crate::proto::trace::span::SpanKind;

/// The ref of a build, as buildx and buildkitd show it.
const BUILD_REF: &str = "build.ref";

/// The scope of a cache entry, as its attribute has it.
const SCOPE: &str = "buildkit_gha.scope";

impl Tracer {
    /// A session of a client, from its call until it is over.
    pub fn session(&self, traceparent: Option<&str>, id: &str) -> TraceSpan {
        let mut span = self.begin(traceparent, SpanKind::Server, "buildkit-gha session");
        span.set("session.id", || id);
        span
    }

    /// A build, for as long as its Solve lasts.
    pub fn build(&self, traceparent: Option<&str>, reference: &str) -> TraceSpan {
        let span = self.begin(traceparent, SpanKind::Server, "buildkit-gha build");
        let mut span = span.flushing();
        span.set(BUILD_REF, || reference);
        span
    }

    /// A request to the service, until its answer has left. What it asks for is known later.
    pub fn request(&self, traceparent: Option<&str>, method: &str) -> TraceSpan {
        let mut span = self.begin(traceparent, SpanKind::Server, "serve request");
        span.set("http.request.method", || method);
        span
    }

    /// A client's connection, since it was accepted; `traceparent` is that of its first call.
    pub(super) fn connection(
        &self,
        traceparent: Option<&str>,
        peer: &str,
        since: u64,
    ) -> TraceSpan {
        let span = self.begin(traceparent, SpanKind::Server, "buildkit-gha connection");
        let mut span = span.since(since);
        span.set("network.peer.address", || peer);
        span
    }
}

impl TraceParent {
    /// A cache export of a build, until it has come to something.
    pub fn export(&self, scope: &str) -> TraceSpan {
        let mut span = self.begin(SpanKind::Internal, || "cache export");
        span.set(SCOPE, || scope);
        span
    }

    /// The part of an export in which BuildKit writes and layers are sent.
    pub fn write(&self) -> TraceSpan {
        self.begin(SpanKind::Internal, || "write layers and index")
    }

    /// A cache import of a build, until the build ends.
    pub fn import(&self, scope: &str) -> TraceSpan {
        let mut span = self.begin(SpanKind::Internal, || "cache import");
        span.set(SCOPE, || scope);
        span
    }

    /// Loading the indexes of an import.
    pub fn load_indexes(&self) -> TraceSpan {
        self.begin(SpanKind::Internal, || "load indexes")
    }

    /// One attempt of a call to a cache service, until its answer was read.
    pub fn call(&self, operation: &str, attempt: u32, url: &Url) -> TraceSpan {
        let mut span = self.begin(SpanKind::Client, || format!("cache {operation}"));
        span.set("server.address", || url.host_str().unwrap_or_default());
        if let Some(port) = url.port_or_known_default() {
            span.set("server.port", || u64::from(port));
        }
        if attempt > 1 {
            span.set("http.request.resend_count", || u64::from(attempt - 1));
        }
        span
    }

    /// The wait of a call before it is made (again).
    pub fn wait(&self, operation: &str, cause: &str) -> TraceSpan {
        let mut span = self.begin(SpanKind::Internal, || format!("wait to {operation}"));
        span.set("buildkit_gha.wait.cause", || cause);
        span
    }
}
