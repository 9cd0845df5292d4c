//! Where transport and build meet: what the transport asks of whoever changes calls on their way through.
//!
//! The transport and sessions know HTTP/2 and gRPC frames, and none of BuildKit's messages; an
//! [`Interceptor`] knows the messages, and none of HTTP/2.

mod grpc_status;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use grpc_status::{Code, GrpcStatus};

use crate::content;

/// Changes the few calls that carry cache options; everything else never reaches it.
#[async_trait]
pub trait Interceptor: Send + Sync + 'static {
    /// A whole request message of `Control.Solve`, its gRPC frame removed, with what the client says that
    /// it is part of (the metadata `traceparent`).
    ///
    /// Dropping the future means that the client has left.
    async fn solve(
        &self,
        traceparent: Option<&str>,
        request: Bytes,
    ) -> Result<RewrittenSolve, GrpcStatus>;

    /// A whole request message of `LLBBridge.Solve`, with the build's ref (the metadata
    /// `buildkit-controlapi-buildid`). It may hold the call; dropping the future means that the
    /// client has left.
    async fn llb_solve(
        &self,
        build_ref: Option<&str>,
        request: Bytes,
    ) -> Result<RewrittenSolve, GrpcStatus>;

    /// A whole request message of `TraceService.Export`: what a client says of itself.
    fn trace(&self, request: Bytes) -> Bytes;

    /// A whole request message of `Control.Status`: a status stream of a build begins.
    fn status(&self, request: &Bytes) -> Result<Box<dyn StatusEditor>, GrpcStatus>;

    /// The content host behind a store id (the metadata `buildkit-attachable-store-id` of a
    /// Content call inside a session). None: not one of ours, the call goes to the client.
    fn content_host(&self, store_id: &str) -> Option<Arc<dyn content::Host>>;

    /// A session is up and spliced: buildkitd's Content calls on it reach
    /// [`Interceptor::content_host`].
    fn session_up(&self, session_id: &str);

    /// A session that was up has ended.
    fn session_down(&self, session_id: &str);

    /// False once builds are refused, since the gateway is to end.
    fn takes_builds(&self) -> bool {
        true
    }
}

/// buildkitd, for calls of the gateway's own.
#[async_trait]
pub trait Daemon: Send + Sync + 'static {
    /// Makes a call with one message and one answer. It takes as long as buildkitd does: callers that
    /// cannot wait drop it.
    async fn call(
        &self,
        path: &'static str,
        metadata: &[(&'static str, &str)],
        message: Bytes,
    ) -> Result<Bytes, GrpcStatus>;
}

/// What becomes of one `Control.Solve` or `LLBBridge.Solve`.
pub struct RewrittenSolve {
    /// The message that buildkitd gets.
    pub request: Bytes,
    /// Lives as long as the call to buildkitd.
    pub completion: Box<dyn SolveCompletion>,
}

/// The end of one `Control.Solve` or `LLBBridge.Solve`. Dropped without a call: the client left, or the
/// connection broke.
pub trait SolveCompletion: Send {
    /// Edits the response message.
    fn edit_response(self: Box<Self>, message: Bytes) -> Bytes;

    /// The call was answered with an error.
    fn fail(self: Box<Self>) {}
}

/// Edits one `Control.Status` stream, message by message.
#[async_trait]
pub trait StatusEditor: Send {
    /// Edits a message of buildkitd's. None: nothing of it is left.
    fn edit(&mut self, message: Bytes) -> Option<Bytes>;

    /// The next message of ours; pending while there is none. It is polled beside buildkitd's
    /// stream and must lose nothing when it is dropped.
    async fn next(&mut self) -> Bytes;

    /// The last message of ours, sent before buildkitd's trailers.
    fn finish(&mut self) -> Option<Bytes>;

    /// The call was answered with an error and no message at all.
    fn refused(&mut self) {}
}
