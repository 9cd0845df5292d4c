//! `buildkit-gha gateway`: buildkitd's place on its socket.

use std::{ffi::OsString, process::ExitCode};

use clap::Args;

use super::{
    child,
    exit::{fail, usage},
    gateway_help,
    logging::{self, Logging},
    version,
};
use crate::{
    app::App,
    config::{Env, Flags, GatewayConfig, InfoFlag, LogSettings},
    lifecycle::raise_file_limit,
};

/// Listens where buildkitd would listen, runs stock buildkitd behind it, and takes over the
/// type=gha cache entries of builds.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
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
    /// Runs until buildkitd ends; the exit code is buildkitd's. `outer` are the flags before the
    /// subcommand.
    pub fn run(&self, outer: Logging, env: &Env) -> ExitCode {
        let flags = match Flags::parse(self.flags.iter().cloned()) {
            Ok(flags) => flags,
            Err(error) => return usage(&error),
        };
        match flags.info {
            Some(InfoFlag::Version) => println!("buildkit-gha {}", version::version()),
            Some(InfoFlag::Help | InfoFlag::ShortHelp) => println!("{}", gateway_help::help()),
            None => return start(&flags, outer, env),
        }
        ExitCode::SUCCESS
    }
}

fn start(flags: &Flags, outer: Logging, env: &Env) -> ExitCode {
    let mut log = LogSettings::for_gateway(flags, outer.log, env);
    if flags.log_format.is_none() {
        log.format = outer.log_format.or(log.format);
    }
    if let Err(error) = logging::start(&log, env) {
        return usage(&error);
    }
    let config = match GatewayConfig::from_flags(flags, env) {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    if let Some(warning) = config.modules.interceptor.overrides.service.warning() {
        tracing::warn!("{warning}");
    }
    let via = match std::env::current_exe() {
        Ok(ourselves) => child::command(ourselves),
        Err(error) => return fail(&error),
    };
    if let Err(error) = raise_file_limit() {
        tracing::warn!(%error, "the limit of open files stays");
    }
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
