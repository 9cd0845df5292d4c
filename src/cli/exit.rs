//! How a command says that it failed.

use std::{fmt::Display, process::ExitCode};

/// Says why a command failed.
pub(super) fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("buildkit-gha: {error}");
    ExitCode::FAILURE
}

/// Says what is wrong with the command line or the environment.
pub(super) fn usage(error: &dyn Display) -> ExitCode {
    eprintln!("buildkit-gha: {error}");
    ExitCode::from(2)
}
