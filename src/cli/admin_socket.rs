//! `--admin-socket` of the commands that ask a running gateway.

use std::path::PathBuf;

use clap::Args;

use crate::{
    admin::AdminClient,
    config::{Env, admin_socket_path, default_admin_socket},
};

/// Which gateway is asked.
#[derive(Debug, Clone, Args)]
pub(super) struct AdminSocket {
    /// The gateway's admin socket (default: that of a gateway on buildkitd's default address,
    /// /run/buildkit/buildkit-gha.sock).
    #[arg(long, env = "BUILDKIT_GHA_ADMIN_SOCKET", value_name = "PATH")]
    admin_socket: Option<String>,
}

/// The gateway has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("BUILDKIT_GHA_ADMIN_SOCKET is off: the gateway has no admin socket")]
pub(super) struct NoAdminSocket;

impl AdminSocket {
    /// Where it is, unless it is off.
    pub fn path(&self, env: &Env) -> Option<PathBuf> {
        let said = self.admin_socket.as_deref().filter(|text| !text.is_empty());
        match said {
            Some(text) => admin_socket_path(text),
            None => Some(default_admin_socket(env)),
        }
    }

    /// The client of that gateway.
    pub fn client(&self, env: &Env) -> Result<AdminClient, NoAdminSocket> {
        let path = self.path(env).ok_or(NoAdminSocket)?;
        Ok(AdminClient::new(path))
    }
}
