//! `buildkit-gha gateway`: buildkitd's place on its socket.

use std::{ffi::OsString, process::ExitCode};

use clap::Args;

use super::{child, fail, usage};
use crate::{
    app::App,
    config::{Env, GatewayConfig},
};

/// Listens where buildkitd would listen, runs stock buildkitd behind it, and takes over the
/// type=gha cache entries of builds.
///
/// Takes buildkitd's own flags as they are. Flags of its own:
///
///   --upstream ADDR        front a buildkitd that is running already, instead of starting one
///
///   --import-listen ADDR   where buildkitd reaches imports [default: 127.0.0.1:0]
///
///   --import-url URL       what it reaches them by, from another network namespace
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, disable_help_flag = true)]
pub struct Gateway {
    /// buildkitd's flags, and the gateway's.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FLAGS"
    )]
    flags: Vec<OsString>,
}

impl Gateway {
    /// Runs until buildkitd ends; the exit code is buildkitd's.
    pub fn run(self) -> ExitCode {
        let config = match GatewayConfig::parse(self.flags, &Env::of_process()) {
            Ok(config) => config,
            Err(error) => return usage(&error),
        };
        let via = match std::env::current_exe() {
            Ok(ourselves) => child::command(ourselves),
            Err(error) => return fail(&error),
        };
        // buildkitd is started from this thread, which lives as long as the process: its death
        // is what buildkitd is told of.
        match tokio::runtime::Runtime::new() {
            Ok(runtime) => {
                let code = runtime.block_on(run(config, &via));
                // Do not wait for a client that leaves an answer unread.
                runtime.shutdown_background();
                code
            }
            Err(error) => fail(&error),
        }
    }
}

async fn run(config: GatewayConfig, via: &[OsString]) -> ExitCode {
    let app = match App::build(config, via).await {
        Ok(app) => app,
        Err(error) => return fail(&error),
    };
    for address in app.addresses() {
        tracing::info!(%address, "listening");
    }
    ExitCode::from(app.run().await)
}
