//! Any connection, as one type.

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream in both directions.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A unix socket, TCP, or TLS over it.
pub(super) type BoxedIo = Box<dyn Io>;
