//! `buildkit-gha du`: how much of a cache is for what.

use std::process::ExitCode;

use clap::Args;

use super::{exit::fail, remote::RemoteArgs};
use crate::{config::Env, maintenance};

/// Shows how much of a cache each scope and branch takes, and how much of it nothing needs.
#[derive(Debug, Args)]
pub struct Du {
    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

impl Du {
    pub fn run(&self, env: &Env) -> ExitCode {
        self.remote.run(env, async |remote| {
            match maintenance::usage(remote).await {
                Ok(usage) => self.remote.print(&usage),
                Err(error) => return fail(&error),
            }
            ExitCode::SUCCESS
        })
    }
}
