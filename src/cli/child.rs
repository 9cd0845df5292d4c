//! `buildkit-gha run-child`: becomes buildkitd, in such a way that it ends with the gateway.
//!
//! The kernel can send a process a signal when its parent dies. The process must ask for that
//! itself, between fork and exec, where safe Rust cannot run code of ours; so the gateway starts
//! itself under this name, which asks and then becomes buildkitd.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::exit::fail;

/// The name of the command.
pub const NAME: &str = "run-child";

/// The command that makes `ourselves` become whatever follows it.
pub fn command(ourselves: PathBuf) -> [OsString; 4] {
    let parent = std::process::id().to_string();
    [
        ourselves.into(),
        NAME.into(),
        "--parent".into(),
        parent.into(),
    ]
}

/// Becomes another program, which gets SIGTERM when the starting process dies.
#[derive(Debug, Args)]
pub struct Child {
    /// The process that starts it: its end ends this one.
    #[arg(long)]
    parent: i32,

    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

impl Child {
    /// Does not return if all goes well.
    pub fn run(&self) -> ExitCode {
        if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
            return fail(&format!(
                "cannot tie buildkitd's life to the gateway's: {error}"
            ));
        }
        // It may have died before the kernel was asked.
        if getppid().map(Pid::as_raw_pid) != Some(self.parent) {
            return fail(&"the gateway has ended");
        }
        let [program, args @ ..] = self.command.as_slice() else {
            unreachable!("clap requires at least one word");
        };
        let error = Command::new(program).args(args).exec();
        fail(&format!(
            "cannot start {}: {error}; BUILDKIT_GHA_BUILDKITD names another buildkitd",
            program.display()
        ))
    }
}
