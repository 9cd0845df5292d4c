//! Runs the built program with a clean environment.

use std::process::Command;

/// What a program that has ended has said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The program, with nothing of the machine's settings.
pub fn program(args: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"));
    program.env_clear().args(args);
    program
}

/// Runs it to its end.
pub fn run(args: &[&str]) -> Said {
    run_with(args, &[])
}

/// As [`run`], with variables.
pub fn run_with(args: &[&str], env: &[(&str, &str)]) -> Said {
    let output = program(args).envs(env.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
