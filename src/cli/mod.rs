//! The command line: one thin file per subcommand.

mod admin_socket;
mod budgets;
mod child;
mod configuration_page;
mod content;
mod database;
mod docs;
mod doctor;
mod drain;
mod du;
mod exit;
mod falcondev;
mod front;
mod gateway;
mod gateway_help;
mod healthcheck;
mod inspect;
mod logging;
mod ls;
mod metrics_page;
mod migrate;
mod page;
mod prune;
mod rate_limits;
mod remote;
mod serve;
mod serve_traces;
mod stats;
mod token;
mod verify;
mod version;

use std::{ffi::OsStr, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use configuration_page::ConfigurationPage;
use exit::{fail, usage};
use logging::Logging;
use metrics_page::MetricsPage;
use remote::RemoteArgs;

use crate::{config::Env, lifecycle::forbid_inspection};

/// Docker builds use the GitHub Actions cache as their remote layer cache.
#[derive(Debug, Parser)]
#[command(name = "buildkit-gha", version = version::version())]
pub struct Cli {
    #[command(flatten)]
    logging: Logging,

    #[command(subcommand)]
    command: Command,

    /// What is said of the variables of another server.
    #[arg(skip)]
    notes: falcondev::Notes,
}

#[derive(Debug, Subcommand)]
enum Command {
    Content(content::Content),
    Gateway(gateway::Gateway),
    #[command(name = child::NAME, hide = true)]
    Child(child::Child),
    Serve(Box<serve::Serve>),
    Token(token::Token),
    Stats(stats::Stats),
    Drain(drain::Drain),
    Healthcheck(healthcheck::Healthcheck),
    Ls(ls::Ls),
    Inspect(inspect::Inspect),
    Du(du::Du),
    Prune(prune::Prune),
    Verify(verify::Verify),
    Doctor(doctor::Doctor),
    Completion(docs::Completion),
    #[command(hide = true)]
    Man(docs::Man),
    #[command(name = configuration_page::NAME, hide = true)]
    ConfigurationPage(ConfigurationPage),
    #[command(name = metrics_page::NAME, hide = true)]
    MetricsPage(MetricsPage),
}

impl Cli {
    /// Reads the command line of the process; ends it for help and for mistakes.
    pub fn from_args() -> Self {
        let command = Self::command().mut_subcommand("gateway", |gateway| {
            gateway.override_help(gateway_help::help())
        });
        let env = Env::from_process();
        let translation = falcondev::Translation::of(&env);
        let command = translation.apply(without_empty_variables(command, &env));
        let matches = command.try_get_matches();
        let matches = matches.unwrap_or_else(|error| {
            if error.use_stderr() {
                translation.origins().for_each(|note| eprintln!("{note}"));
            }
            error.exit()
        });
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        cli.notes = translation.notes(&matches);
        cli
    }

    /// Runs the command; the exit code is 0 for success, 1 for failure, 2 for wrong usage.
    pub fn run(self) -> ExitCode {
        // Before any token is read.
        if let Err(error) = forbid_inspection() {
            return fail(&format!("cannot keep others out of its memory: {error}"));
        }
        let env = Env::from_process();
        match self.command {
            // It shares flags with buildkitd.
            Command::Gateway(gateway) => return gateway.run(self.logging, &env),
            // It is of the gateway's making, which has said all.
            Command::Child(child) => return child.run(),
            Command::Completion(completion) => return completion.run(documented()),
            Command::Man(man) => return man.run(documented()),
            Command::ConfigurationPage(_) => return ConfigurationPage::run(&documented()),
            Command::MetricsPage(_) => return MetricsPage::run(),
            _ => {}
        }
        let logging = self.command.logging().or(self.logging);
        let logging = if self.command.answers() {
            logging.quiet(&env)
        } else {
            logging
        };
        if let Err(error) = logging::start(&logging.settings(&env), &env) {
            return usage(&error);
        }
        self.notes.log();
        self.command.run(&env)
    }
}

impl Command {
    /// What a command on a cache says of it.
    fn remote(&self) -> Option<&RemoteArgs> {
        match self {
            Self::Ls(ls) => Some(&ls.remote),
            Self::Inspect(inspect) => Some(&inspect.remote),
            Self::Du(du) => Some(&du.remote),
            Self::Prune(prune) => Some(&prune.remote),
            Self::Verify(verify) => Some(&verify.remote),
            Self::Doctor(doctor) => Some(&doctor.remote),
            _ => None,
        }
    }

    /// Whether it prints an answer, beside which a log would be in the way.
    fn answers(&self) -> bool {
        match self {
            Self::Serve(serve) => serve.is_migration(),
            other => other.remote().is_some(),
        }
    }

    fn logging(&self) -> Logging {
        match self {
            Self::Content(content) => content.logging.clone(),
            Self::Serve(serve) => serve.logging(),
            Self::Token(token) => token.logging.clone(),
            Self::Stats(stats) => stats.logging.clone(),
            Self::Drain(drain) => drain.logging.clone(),
            Self::Healthcheck(healthcheck) => healthcheck.logging.clone(),
            other => other
                .remote()
                .map(|remote| remote.logging.clone())
                .unwrap_or_default(),
        }
    }

    /// Runs a command whose log is that of the process.
    fn run(self, env: &Env) -> ExitCode {
        match self {
            Self::Content(content) => content.run(),
            Self::Serve(serve) => serve.run(),
            Self::Token(token) => token.run(),
            Self::Stats(stats) => stats.run(env),
            Self::Drain(drain) => drain.run(env),
            Self::Healthcheck(healthcheck) => healthcheck.run(),
            Self::Ls(ls) => ls.run(env),
            Self::Inspect(inspect) => inspect.run(env),
            Self::Du(du) => du.run(env),
            Self::Prune(prune) => prune.run(env),
            Self::Verify(verify) => verify.run(env),
            Self::Doctor(doctor) => doctor.run(env),
            _ => unreachable!("the others have been run before"),
        }
    }
}

/// Lets an empty variable be as good as none, as [`Env`] does for the settings of the gateway.
fn without_empty_variables(command: clap::Command, env: &Env) -> clap::Command {
    let is_empty = |name: &OsStr| {
        let name = name.to_str().unwrap_or_default();
        env.get(name).is_none() && env.names().any(|known| known == name)
    };
    command.mut_subcommands(|command| {
        let command = command.mut_args(|arg| match arg.get_env() {
            Some(name) if is_empty(name) => arg.env(None::<&str>),
            _ => arg,
        });
        without_empty_variables(command, env)
    })
}

/// The program as people read of it.
fn documented() -> clap::Command {
    let command = Cli::command().disable_help_subcommand(true);
    command.mut_subcommand("gateway", |_| gateway_help::documented())
}
