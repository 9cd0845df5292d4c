//! A client of the daemon's socket: calls that it takes back at once, and connections without calls.

use std::{
    io::Write as _, os::unix::net::UnixStream, path::Path, process::Command, time::Duration,
};

use super::{BESIDE, Row, honest_build, seconds};
use crate::harness::{BUILD, Daemon, Lab, PROGRAM, RapidReset, command};

/// Connections of one attacker.
const CONNECTIONS: usize = 4;

/// More than the gateway takes without a pause: the build begins when the attack is already slowed down.
const CALLS: u64 = 10_000;

/// More than a process of 1,024 files takes.
const IDLE: usize = 1_500;

/// The soft limit of most systems, with room above it.
pub const SOFT: &str = "--nofile=1024:8192";

/// The same without room above it.
pub const HARD: &str = "--nofile=1024:1024";

/// The preface of HTTP/2 and empty settings: a client that makes no call.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How long a build takes beside calls that are reset at once.
pub fn build_beside_resets(daemon: &mut Daemon) -> Duration {
    let attack = RapidReset::start(daemon.socket(), CONNECTIONS);
    (daemon.process).until("the attack is under way", BUILD, |_| {
        (attack.calls() > CALLS).then_some(())
    });
    let context = daemon.socket().with_extension("context");
    let name = context.file_name().expect("a name").to_string_lossy();
    honest_build(daemon, &name)
}

/// Clients that make no call and stay connected.
pub fn idle(socket: &Path) -> Vec<UnixStream> {
    let connect = |_| {
        let mut client = UnixStream::connect(socket).expect("it listens");
        // The daemon may have closed it already: it has a bound.
        let _ = client.write_all(PREFACE);
        client
    };
    (0..IDLE).map(connect).collect()
}

/// A daemon with this limit of files.
pub fn limited(lab: &std::sync::Arc<Lab>, name: &str, limits: &str, program: &[&str]) -> Daemon {
    let mut daemon: Command = command(lab, "prlimit");
    daemon.args([limits, "--"]).args(program);
    daemon.env("BUILDKIT_GHA_SPOOL_FREE", "0");
    Daemon::start(lab, name, daemon)
}

/// CVE-2023-44487.
pub fn rapid_reset() -> Row {
    let lab = Lab::new();
    let seen = |mut daemon: Daemon, name: &str| {
        honest_build(&daemon, &format!("{name}-first"));
        let before = honest_build(&daemon, &format!("{name}-before"));
        let beside = build_beside_resets(&mut daemon);
        let (peak, after) = (daemon.process.peak_memory(), daemon.process.status("VmRSS"));
        let times = format!("{} → {}", seconds(before), seconds(beside));
        let memory = format!("{} MiB at most, {} MiB after", peak >> 20, after >> 10);
        (beside, format!("{times}; {memory}"))
    };
    let (stock, stocks) = seen(Daemon::stock(&lab, "stock"), "stock");
    let (ours, result) = seen(Daemon::gateway(&lab, "gateway"), "gateway");
    Row {
        attack: "rapid reset on four connections of the socket; another client builds",
        result,
        stock: stocks,
        held: ours < BESIDE.max(stock),
    }
}

/// Connections without a call.
pub fn idle_clients() -> Row {
    let lab = Lab::new();
    let seen = |name: &str, program: &[&str]| {
        let daemon = limited(&lab, name, SOFT, program);
        honest_build(&daemon, &format!("{name}-first"));
        let before = honest_build(&daemon, &format!("{name}-before"));
        let idle = idle(daemon.socket());
        let beside = honest_build(&daemon, &format!("{name}-beside"));
        let memory = daemon.process.status("VmRSS");
        drop(idle);
        let times = format!("{} → {}", seconds(before), seconds(beside));
        (beside, format!("{times}; {} MiB", memory >> 10))
    };
    let (_, stock) = seen("stock", &["buildkitd"]);
    let (ours, result) = seen("gateway", &[PROGRAM, "gateway"]);
    Row {
        attack: "1,500 idle clients of the socket, of a process with a soft limit of 1,024 files",
        result,
        stock,
        held: ours < BESIDE,
    }
}
