//! The command line: one thin file per subcommand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::telemetry::{self, LogFormat};

/// Docker builds use the GitHub Actions cache as their remote layer cache.
#[derive(Debug, Parser)]
#[command(name = "buildkit-gha", version)]
pub struct Cli {
    /// What to log, in the syntax of RUST_LOG.
    #[arg(long, env = "BUILDKIT_GHA_LOG", default_value = "info", global = true)]
    log: String,

    /// How log lines look.
    #[arg(
        long,
        env = "BUILDKIT_GHA_LOG_FORMAT",
        default_value = "text",
        global = true
    )]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {}

impl Cli {
    /// Runs the command; the exit code is 0 for success, 1 for failure, 2 for wrong usage.
    pub fn run(self) -> ExitCode {
        if let Err(error) = telemetry::init(&self.log, self.log_format) {
            eprintln!("buildkit-gha: --log {:?}: {error}", self.log);
            return ExitCode::from(2);
        }
        match self.command {}
    }
}
