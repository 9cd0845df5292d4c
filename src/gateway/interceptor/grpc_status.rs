//! gRPC's status of a call.

pub use tonic::Code;

/// How a call ended: gRPC's code, and words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code:?})")]
pub struct GrpcStatus {
    /// gRPC's code.
    pub code: Code,
    /// What failed, in words for people.
    pub message: String,
}

impl GrpcStatus {
    /// A status of `code` with `message`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}
