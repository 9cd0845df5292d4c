//! Why the gateway cannot start.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{
    actions::HttpError,
    gateway::{BindError, endpoint::tls::TlsError, supervise::StartError},
};

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// buildkitd does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The spool folder cannot be used.
    #[error("cannot keep spool files in {0}: {1}; BUILDKIT_GHA_SPOOL_DIR names another folder")]
    Spool(PathBuf, io::Error),
    /// The endpoint cannot listen.
    #[error("cannot listen on {0} for imports: {1}; --import-listen names another address")]
    Endpoint(SocketAddr, io::Error),
    /// The endpoint cannot speak TLS.
    #[error("imports: {0}")]
    Tls(TlsError),
    /// Signals cannot be listened for.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
}
