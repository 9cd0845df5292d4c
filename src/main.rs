//! The program: parse, run, exit code.

use std::process::ExitCode;

use buildkit_gha::cli::Cli;
use clap::Parser as _;

fn main() -> ExitCode {
    Cli::parse().run()
}
