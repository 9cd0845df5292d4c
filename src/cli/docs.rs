//! `buildkit-gha completion` and `man`: what packages install beside the program.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, Command};
use clap_complete::Shell;

use super::exit::fail;

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
    /// Prints them; `program` is the whole command line.
    pub fn run(&self, mut program: Command) -> ExitCode {
        clap_complete::generate(self.shell, &mut program, "buildkit-gha", &mut io::stdout());
        ExitCode::SUCCESS
    }
}

impl Man {
    /// Writes `buildkit-gha.1` and one page for each subcommand.
    pub fn run(&self, program: Command) -> ExitCode {
        let written = std::fs::create_dir_all(&self.dir)
            .and_then(|()| clap_mangen::generate_to(program, &self.dir));
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("{}: {error}", self.dir.display())),
        }
    }
}
