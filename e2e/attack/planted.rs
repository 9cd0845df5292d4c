//! Files that a local user has put where the gateway looks.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};

use super::{Row, seconds};
use crate::harness::{Daemon, Lab, PROGRAM, SOON, command};

/// A user and a group that own nothing.
pub const OTHER_USER: u32 = 65534;

/// A pipe of another user, which everybody may open.
fn make_pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("make a pipe");
    chown(path, Some(OTHER_USER), Some(OTHER_USER)).expect("root may give it away");
}

/// Starts and stops a gateway with a pipe of another user among the temporary files: where it may not write to
/// /run, it removes what it has left there before.
pub fn gateway_beside_a_pipe(lab: &Arc<Lab>) -> (Duration, PathBuf) {
    let temporary = lab.path("tmp");
    fs::create_dir(&temporary).expect("create a directory");
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777)).expect("our directory");
    let trap = temporary.join("buildkit-gha-trap");
    make_pipe(&trap);
    let mut gateway = command(lab, "unshare");
    gateway.args(["--mount", "--", "sh", "-c"]);
    gateway.arg("mount -t tmpfs -o ro tmpfs /run && exec \"$0\" \"$@\"");
    gateway
        .arg(PROGRAM)
        .arg("gateway")
        .env("TMPDIR", &temporary);
    let began = Instant::now();
    let mut daemon = Daemon::start(lab, "gateway", gateway);
    let took = began.elapsed();
    daemon.process.signal(Signal::TERM);
    daemon.process.wait(SOON);
    (took, trap)
}

/// A program that opens such a pipe waits for ever.
pub fn pipe() -> Row {
    let lab = Lab::new();
    let (took, trap) = gateway_beside_a_pipe(&lab);
    let stock = Lab::new();
    let began = Instant::now();
    drop(Daemon::stock(&stock, "stock"));
    Row {
        attack: "a pipe of another user's in /tmp before the gateway starts",
        result: format!("the gateway is up in {}", seconds(took)),
        stock: format!(
            "looks for no such file; up and down in {}",
            seconds(began.elapsed())
        ),
        held: trap.exists(),
    }
}
