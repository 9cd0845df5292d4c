//! `buildkit-gha inspect`: what the indexes of one scope name.

use std::process::ExitCode;

use clap::Args;

use super::{exit::fail, remote::RemoteArgs};
use crate::{
    config::Env,
    maintenance::{self, Filter, FilterArg},
};

/// Shows the layers and records of a scope's indexes as a tree: sizes, which are gone, which nobody has read.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The scope, as in `type=gha,scope=…`.
    #[arg(value_name = "SCOPE")]
    scope: String,

    /// Only the index of this branch, tag or pull request (refs/heads/main).
    #[arg(long = "ref", value_name = "REF")]
    git_ref: Option<String>,

    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

impl Inspect {
    pub fn run(&self, env: &Env) -> ExitCode {
        let scope = FilterArg::Scope(self.scope.clone());
        let git_ref = self.git_ref.clone().map(FilterArg::Ref);
        let (filter, _) = Filter::new([scope].into_iter().chain(git_ref));
        self.remote.run(env, async |remote| {
            let inspected = match maintenance::inspect(remote, &filter).await {
                Ok(inspected) => inspected,
                Err(error) => return fail(&error),
            };
            self.remote.print(&inspected);
            // Somebody wanted to see it.
            if inspected.indexes.iter().all(|index| index.unread.is_some()) {
                return fail(&"none of these indexes could be read");
            }
            ExitCode::SUCCESS
        })
    }
}
