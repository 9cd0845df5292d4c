//! Where the admin socket is.

use std::path::PathBuf;

use crate::net::Listen;

/// Where it listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The socket; `None` for none.
    pub socket: Option<PathBuf>,
    /// Who may use it besides the process's own user and root.
    pub uid: Option<u32>,
    /// Where probes and metrics can be had over TCP.
    pub metrics: Option<Listen>,
}
