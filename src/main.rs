//! The program: parse, run, exit code.

use std::process::ExitCode;

use buildkit_gha::cli::Cli;

fn main() -> ExitCode {
    Cli::from_args().run()
}
