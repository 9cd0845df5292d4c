//! `buildkit-gha verify`: whether the layers of a cache are what their digests say.

use std::process::ExitCode;

use clap::Args;

use super::{exit::fail, remote::RemoteArgs};
use crate::{
    config::Env,
    maintenance::{self, Filter, FilterArg},
};

/// Downloads every layer that indexes name and checks its digest; exit code 1 if one is damaged or missing.
#[derive(Debug, Args)]
pub struct Verify {
    /// Only the indexes of this scope (default: of all scopes).
    #[arg(value_name = "SCOPE")]
    scope: Option<String>,

    /// Only the index of this branch, tag or pull request (refs/heads/main).
    #[arg(long = "ref", value_name = "REF")]
    git_ref: Option<String>,

    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

impl Verify {
    pub fn run(&self, env: &Env) -> ExitCode {
        let scope = self.scope.clone().map(FilterArg::Scope);
        let git_ref = self.git_ref.clone().map(FilterArg::Ref);
        let (filter, _) = Filter::new(scope.into_iter().chain(git_ref));
        self.remote.run(env, async |remote| {
            if let Err(error) = &remote.content {
                return fail(error);
            }
            let verified = match maintenance::verify(remote, &filter).await {
                Ok(verified) => verified,
                Err(error) => return fail(&error),
            };
            self.remote.print(&verified);
            if self.scope.is_some() && verified.indexes == 0 {
                return fail(&"no index of this scope could be read");
            }
            if verified.is_intact() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        })
    }
}
