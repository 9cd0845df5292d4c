//! `buildkit-gha completion` and `man`: what packages install beside the program.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, fail, gateway_help};

/// Prints the completions of a shell.
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell.
    shell: Shell,
}

/// Writes the manual pages into a directory.
#[derive(Debug, Args)]
pub struct Man {
    /// Where to; created when missing.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Completion {
    /// Prints them.
    pub fn run(&self) -> ExitCode {
        clap_complete::generate(
            self.shell,
            &mut command(),
            "buildkit-gha",
            &mut io::stdout(),
        );
        ExitCode::SUCCESS
    }
}

impl Man {
    /// Writes `buildkit-gha.1` and one page for each subcommand.
    pub fn run(&self) -> ExitCode {
        let written = std::fs::create_dir_all(&self.dir)
            .and_then(|()| clap_mangen::generate_to(command(), &self.dir));
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("{}: {error}", self.dir.display())),
        }
    }
}

/// The program as people read of it.
fn command() -> Command {
    let command = Cli::command().disable_help_subcommand(true);
    command.mut_subcommand("gateway", |_| gateway_help::documented())
}
