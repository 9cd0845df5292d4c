//! The command line: one thin file per subcommand.

mod child;
mod content;
mod gateway;
mod serve;
mod token;

use std::{fmt::Display, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::telemetry::{self, LogFormat};

/// Docker builds use the GitHub Actions cache as their remote layer cache.
#[derive(Debug, Parser)]
#[command(name = "buildkit-gha", version)]
pub struct Cli {
    /// What to log, in the syntax of `RUST_LOG`.
    #[arg(long, env = "BUILDKIT_GHA_LOG", default_value = "info")]
    log: String,

    /// How log lines look.
    #[arg(long, env = "BUILDKIT_GHA_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Content(content::Content),
    Gateway(gateway::Gateway),
    #[command(name = child::NAME, hide = true)]
    Child(child::Child),
    Serve(serve::Serve),
    Token(token::Token),
}

impl Cli {
    /// Runs the command; the exit code is 0 for success, 1 for failure, 2 for wrong usage.
    pub fn run(self) -> ExitCode {
        if let Err(error) = telemetry::init(&self.log, self.log_format) {
            return usage(&format!("--log {:?}: {error}", self.log));
        }
        match self.command {
            Command::Content(content) => content.run(),
            Command::Gateway(gateway) => gateway.run(),
            Command::Child(child) => child.run(),
            Command::Serve(serve) => serve.run(),
            Command::Token(token) => token.run(),
        }
    }
}

/// Says why a command failed.
fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("buildkit-gha: {error}");
    ExitCode::FAILURE
}

/// Says what is wrong with the command line or the environment.
fn usage(error: &dyn Display) -> ExitCode {
    eprintln!("buildkit-gha: {error}");
    ExitCode::from(2)
}
