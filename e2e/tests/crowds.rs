//! Connections that are opened and held: others are served all the same.

use std::{
    collections::VecDeque,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use crate::{
    attack::{BESIDE, honest_build, socket, step},
    harness::{Api, Build, Builder, Daemon, Lab, PROGRAM, Site},
};

/// What a step does that shares the network of the gateway.
#[test]
fn held_connections_to_the_endpoint_stop_no_import() {
    let site = Site::new();
    let gateway = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&gateway);
    let cache = site.gha(Api::V2, ",mode=max");
    builder.build(&Build::new(&site.context).to(cache)).ok();
    builder.prune();
    let held = step::hold_the_endpoint(&gateway.process);
    let import = Build::new(&site.context)
        .from(site.gha(Api::V2, ""))
        .tar(site.tar("imported"));
    let began = Instant::now();
    let outcome = builder.build(&import).ok();
    let took = began.elapsed();
    outcome.no_warnings().all_cached();
    assert!(took < BESIDE, "{took:?}");
    drop(held);

    // And such that come one after another as fast as they are taken.
    builder.prune();
    let endpoint = step::endpoint(&gateway.process);
    let end = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            let mut held = VecDeque::new();
            while !end.load(Ordering::Relaxed) {
                held.extend(TcpStream::connect(endpoint));
                if held.len() > step::HELD {
                    held.pop_front();
                }
            }
        });
        let began = Instant::now();
        let outcome = builder.build(&import);
        let took = began.elapsed();
        end.store(true, Ordering::Relaxed);
        outcome.ok().no_warnings().all_cached();
        took
    });
    assert!(took < BESIDE, "{took:?}");
}

/// The soft limit of most systems, with room above it and without.
#[test]
fn idle_clients_stop_no_other() {
    for (name, limits) in [("soft", socket::SOFT), ("hard", socket::HARD)] {
        let lab = Lab::new();
        let gateway = socket::limited(&lab, name, limits, &[PROGRAM, "gateway"]);
        let idle = socket::idle(gateway.socket());
        let took = honest_build(&gateway, "beside");
        assert!(took < BESIDE, "{name}: {took:?}");
        drop(idle);
    }
}
