//! Files that a local user has put where the gateway and `serve` look.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};

use super::{Row, seconds};
use crate::harness::{Daemon, Lab, PROGRAM, SOON, command, run};

/// A user and a group that own nothing.
pub const OTHER_USER: u32 = 65534;

/// A secret that others know.
const SECRET: &str = "0101010101010101010101010101010101010101010101010101010101010101";

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

/// What `serve` says of a data directory in which something was planted; it must end by itself.
fn refusal(plant: impl Fn(&Path)) -> (bool, String) {
    let lab = Lab::new();
    let data = lab.path("data");
    fs::create_dir(&data).expect("create a directory");
    plant(&data);
    let mut serve = command(&lab, PROGRAM);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    serve.arg(&data);
    let ended = run(&lab, "serve", serve, SOON);
    let said = ended.stderr.lines().last().unwrap_or_default();
    let said = said.replace(&lab.path("").display().to_string(), "");
    (ended.status.code() == Some(1), format!("refused: {said}"))
}

/// Whoever knows the secret signs tokens.
pub fn secret_for_all() -> Row {
    let (held, said) = refusal(|data| {
        let secret = data.join("secret");
        fs::write(&secret, SECRET).expect("write a file");
        let mode = fs::Permissions::from_mode(0o666);
        fs::set_permissions(&secret, mode).expect("our file");
    });
    Row::on_the_service("a `secret` of mode 0666 in the data directory", said, held)
}

/// Whatever the link names would be emptied.
pub fn linked_lock() -> Row {
    let lab = Lab::new();
    let victim = lab.path("victim");
    fs::write(&victim, "precious").expect("write a file");
    let plant = |data: &Path| symlink(&victim, data.join("lock")).expect("make a link");
    let (refused, said) = refusal(plant);
    let whole = fs::read(&victim).is_ok_and(|bytes| bytes == b"precious");
    let kept = if whole { "whole" } else { "lost" };
    Row::on_the_service(
        "a `lock` that is a link to a file of the operator's",
        format!("{said}; the file is {kept}"),
        refused && whole,
    )
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
