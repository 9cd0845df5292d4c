//! `buildkit-gha ls`: the indexes of a repository.

use std::process::ExitCode;

use clap::Args;

use super::{exit::fail, remote::RemoteArgs};
use crate::{config::Env, maintenance};

/// Lists the indexes of a cache: scope, branch, layers, size and age.
#[derive(Debug, Args)]
pub struct Ls {
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

impl Ls {
    pub fn run(&self, env: &Env) -> ExitCode {
        self.remote.run(env, async |remote| {
            match maintenance::list(remote).await {
                Ok(listed) => self.remote.print(&listed),
                Err(error) => return fail(&error),
            }
            ExitCode::SUCCESS
        })
    }
}
