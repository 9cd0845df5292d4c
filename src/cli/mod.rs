//! The command line: one thin file per subcommand.

mod admin_socket;
mod child;
mod configuration_page;
mod content;
mod docs;
mod drain;
mod exit;
mod gateway;
mod gateway_help;
mod logging;
mod serve;
mod stats;
mod token;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use configuration_page::ConfigurationPage;
use exit::{fail, usage};
use logging::Logging;

use crate::{config::Env, lifecycle::forbid_inspection};

/// Docker builds use the GitHub Actions cache as their remote layer cache.
#[derive(Debug, Parser)]
#[command(name = "buildkit-gha", version = version::version())]
pub struct Cli {
    #[command(flatten)]
    logging: Logging,

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
    Stats(stats::Stats),
    Drain(drain::Drain),
    Completion(docs::Completion),
    #[command(hide = true)]
    Man(docs::Man),
    #[command(name = configuration_page::NAME, hide = true)]
    ConfigurationPage(ConfigurationPage),
}

impl Cli {
    /// Reads the command line of the process; ends it for help and for mistakes.
    pub fn from_args() -> Self {
        let command = Self::command().mut_subcommand("gateway", |gateway| {
            gateway.override_help(gateway_help::help())
        });
        let matches = command.get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command; the exit code is 0 for success, 1 for failure, 2 for wrong usage.
    pub fn run(self) -> ExitCode {
        // Before any token is read.
        if let Err(error) = forbid_inspection() {
            return fail(&format!("cannot keep others out of its memory: {error}"));
        }
        let env = Env::from_process();
        let logging = match &self.command {
            Command::Content(content) => content.logging.clone(),
            Command::Serve(serve) => serve.logging.clone(),
            Command::Token(token) => token.logging.clone(),
            Command::Stats(stats) => stats.logging.clone(),
            Command::Drain(drain) => drain.logging.clone(),
            // It shares flags with buildkitd.
            Command::Gateway(gateway) => return gateway.run(self.logging, &env),
            // It is of the gateway's making, which has said all.
            Command::Child(child) => return child.run(),
            Command::Completion(completion) => return completion.run(documented()),
            Command::Man(man) => return man.run(documented()),
            Command::ConfigurationPage(_) => return ConfigurationPage::run(&documented()),
        };
        let settings = logging.or(self.logging).settings(&env);
        if let Err(error) = logging::start(&settings, &env) {
            return usage(&error);
        }
        match self.command {
            Command::Content(content) => content.run(),
            Command::Serve(serve) => serve.run(),
            Command::Token(token) => token.run(),
            Command::Stats(stats) => stats.run(&env),
            Command::Drain(drain) => drain.run(&env),
            _ => unreachable!("the others have been run above"),
        }
    }
}

/// The program as people read of it.
fn documented() -> clap::Command {
    let command = Cli::command().disable_help_subcommand(true);
    command.mut_subcommand("gateway", |_| gateway_help::documented())
}
