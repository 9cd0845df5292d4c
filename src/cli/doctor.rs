//! `buildkit-gha doctor`: whether builds have a cache, and what to do if not.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Args;

use super::{
    admin_socket::AdminSocket,
    exit::{fail, usage},
    remote::{Format, RemoteArgs, block_on, print},
};
use crate::{
    actions::HttpConfig,
    config::{Env, RemoteError, access, job_variables, runtime, surroundings},
    doctor::{Diagnosis, JobVariables, Runner, Subject, examine, examine_runner},
    net::Address,
};

/// Where buildkitd listens when nothing is said.
const BUILDKITD: &str = "unix:///run/buildkit/buildkitd.sock";

/// Looks at all that a build's cache depends on, and names the cure of what is wrong; exit code 1 if something is.
///
/// In a builder's container it sees buildkitd and the gateway, in a job the token and the service.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The address of buildkitd (default: `unix:///run/buildkit/buildkitd.sock`).
    #[arg(long, env = "BUILDKIT_HOST", value_name = "ADDR")]
    addr: Option<Address>,

    #[command(flatten)]
    admin_socket: AdminSocket,

    /// The scope of the next build, as in `type=gha,scope=…`.
    #[arg(long, value_name = "SCOPE", default_value = "buildkit")]
    scope: String,

    /// Look at the runner instead, in one of its jobs: whether its overridden `ACTIONS_RESULTS_URL` leads to `serve`, and
    /// caches and artifacts work there.
    #[arg(long)]
    runner: bool,

    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

impl Doctor {
    pub fn run(&self, env: &Env) -> ExitCode {
        block_on(async {
            let examined = if self.runner {
                let variables = match job_variables(env) {
                    Ok(variables) => variables,
                    Err(error) => return usage(&error),
                };
                examine_runner(runner(env, variables)).await
            } else {
                examine(self.subject(env).await).await
            };
            match examined {
                Ok(diagnosis) => self.report(env, &diagnosis),
                Err(error) => fail(&error),
            }
        })
    }

    async fn subject(&self, env: &Env) -> Subject {
        let default = || BUILDKITD.parse().expect("a constant that a test parses");
        let (content, rest) = match access(env, &self.remote.flags()).await {
            Ok(access) => (access.content, Ok(access.rest)),
            Err(error @ RemoteError::Nothing) => {
                (runtime(env).ok().flatten(), Err(error.to_string()))
            }
            Err(error) => (None, Err(error.to_string())),
        };
        Subject {
            address: self.addr.clone().unwrap_or_else(default),
            address_is_said: self.addr.is_some(),
            admin_socket: self.admin_socket.path(env),
            content,
            rest,
            scope: self.scope.clone(),
            surroundings: surroundings(env),
            http: HttpConfig::default(),
        }
    }

    fn report(&self, env: &Env, diagnosis: &Diagnosis) -> ExitCode {
        let coloured = io::stdout().is_terminal() && env.get("NO_COLOR").is_none();
        match self.remote.output.format {
            Format::Table => print(&diagnosis.text(coloured)),
            Format::Json => print(&diagnosis.json()),
        }
        if diagnosis.is_well() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn runner(env: &Env, variables: JobVariables) -> Runner {
    Runner {
        variables,
        surroundings: surroundings(env),
        http: HttpConfig::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_an_address() {
        BUILDKITD.parse::<Address>().unwrap();
    }
}
