//! The program: parse, run, exit code.

use std::process::ExitCode;

use buildkit_gha::cli::Cli;

/// musl's takes one lock for all threads.
#[cfg(all(target_env = "musl", not(feature = "system-allocator")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::from_args().run()
}
