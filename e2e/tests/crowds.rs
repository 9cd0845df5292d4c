//! Connections that are opened and held: others are served all the same.

use std::{
    collections::VecDeque,
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Api, Build, Builder, Context, Daemon, Lab, PROGRAM, Process, Site, command};

/// More than the import endpoint takes.
const HELD: usize = 1_100;

/// More than a process of 1,024 files takes.
const IDLE: usize = 1_500;

/// A greeting of HTTP/2 and settings that say nothing: a client that asks for nothing.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A build beside a crowd takes as long as alone, or it waits for time limits of half a minute and more.
const BESIDE: Duration = Duration::from_secs(20);

/// What a step does that shares the network of the gateway.
#[test]
fn held_connections_to_the_endpoint_stop_no_import() {
    let site = Site::new();
    let gateway = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&gateway);
    let cache = site.gha(Api::V2, ",mode=max");
    builder.build(&Build::of(&site.context).to(cache)).ok();
    builder.prune();
    let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, listens_at(&gateway.process)));
    let held: Vec<_> = (0..HELD)
        .map(|_| TcpStream::connect(endpoint).expect("it takes connections"))
        .collect();
    let import = Build::of(&site.context)
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
    let end = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            let mut held = VecDeque::new();
            while !end.load(Ordering::Relaxed) {
                held.extend(TcpStream::connect(endpoint));
                if held.len() > HELD {
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
    for (name, limits) in [
        ("soft", "--nofile=1024:8192"),
        ("hard", "--nofile=1024:1024"),
    ] {
        let lab = Lab::new();
        let mut gateway = command(&lab, "prlimit");
        gateway.args([limits, "--", PROGRAM, "gateway"]);
        gateway.env("BUILDKIT_GHA_SPOOL_FREE", "0");
        let gateway = Daemon::start(&lab, name, gateway);
        let idle: Vec<_> = (0..IDLE)
            .map(|_| {
                let mut client = UnixStream::connect(gateway.socket()).expect("it listens");
                // One that it has no room for hears that.
                let _ = client.write_all(GREETING);
                client
            })
            .collect();
        let context = Context::with_shell(&lab, "context", "RUN echo made > /made");
        let began = Instant::now();
        Builder::buildctl(&gateway).build(&Build::of(&context)).ok();
        let took = began.elapsed();
        assert!(took < BESIDE, "{name}: {took:?}");
        drop(idle);
    }
}

/// The port on which a program listens, which must be one.
fn listens_at(process: &Process) -> u16 {
    let files = fs::read_dir(process.proc("fd")).expect("it runs");
    let sockets: Vec<_> = files
        .filter_map(|file| {
            let name = fs::read_link(file.ok()?.path()).ok()?;
            let inode = name.to_str()?.strip_prefix("socket:[")?.strip_suffix(']');
            inode.map(str::to_owned)
        })
        .collect();
    let table = fs::read_to_string(process.proc("net/tcp")).expect("it runs");
    let ports = table.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        // Local address, state and inode; 0A is LISTEN.
        let [_, local, _, "0A", _, _, _, _, _, inode, ..] = words[..] else {
            return None;
        };
        let port = local.split_once(':')?.1;
        let port = u16::from_str_radix(port, 16).ok()?;
        sockets.iter().any(|socket| socket == inode).then_some(port)
    });
    let ports: Vec<_> = ports.collect();
    let [port] = ports[..] else {
        panic!("it listens at {ports:?}")
    };
    port
}
