//! Calls that are opened and taken back at once, as fast as the daemon reads them: others build on, and
//! the daemon stays small.

use std::time::{Duration, Instant};

use crate::harness::{BUILD, Build, Builder, Context, Daemon, Lab, RapidReset};

/// As many as one client opens that means no good.
const CONNECTIONS: usize = 4;

/// More than the gateway takes without a pause, so the build comes when it has begun to hold the attack
/// back.
const CALLS: u64 = 10_000;

/// What the gateway may have in memory beside the attack and after it. It has 20 to 30 MiB without.
const MEMORY: u64 = 100 << 20;

#[test]
fn others_build_beside_calls_that_are_reset_at_once() {
    let lab = Lab::new();
    let stock = beside_an_attack(&mut Daemon::stock(&lab, "stock"));
    let mut gateway = Daemon::gateway(&lab, "gateway");
    let ours = beside_an_attack(&mut gateway);
    assert!(
        ours <= stock,
        "{ours:?} with the gateway, {stock:?} without"
    );
    let peak = gateway.process.peak_memory();
    assert!(peak < MEMORY, "{} MiB", peak >> 20);
}

/// How long a build takes beside the attack.
fn beside_an_attack(daemon: &mut Daemon) -> Duration {
    let attack = RapidReset::start(daemon.socket(), CONNECTIONS);
    (daemon.process).until("the attack is under way", BUILD, |_| {
        (attack.calls() > CALLS).then_some(())
    });
    let context = daemon.socket().with_extension("context");
    let name = context.file_name().expect("a name").to_string_lossy();
    let context = Context::with_shell(daemon.lab(), &name, "RUN echo made > /made");
    let began = Instant::now();
    Builder::buildctl(daemon).build(&Build::of(&context)).ok();
    began.elapsed()
}
