//! Calls that are opened and taken back at once, as fast as the daemon reads them: others build on, and
//! the daemon stays small.

use crate::{
    attack::socket::build_beside_resets,
    harness::{Daemon, Lab},
};

/// What the gateway may have in memory beside the attack and after it. It has 20 to 30 MiB without.
const MEMORY: u64 = 100 << 20;

#[test]
fn others_build_beside_calls_that_are_reset_at_once() {
    let lab = Lab::new();
    let stock = build_beside_resets(&mut Daemon::stock(&lab, "stock"));
    let mut gateway = Daemon::gateway(&lab, "gateway");
    let ours = build_beside_resets(&mut gateway);
    assert!(
        ours <= stock,
        "{ours:?} with the gateway, {stock:?} without"
    );
    let peak = gateway.process.peak_memory();
    assert!(peak < MEMORY, "{} MiB", peak >> 20);
}
