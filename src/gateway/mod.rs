//! The gateway on buildkitd's socket.

pub mod grpc;
pub mod interceptor;
pub mod rewrite;

pub use grpc::{Code, GrpcStatus};
pub use interceptor::{Finish, Interceptor, Solve, StatusEditor};
