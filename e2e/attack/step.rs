//! A build step that has the network of its daemon: it listens, makes the requests again that it heard,
//! and holds connections of the import endpoint.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
};

use super::{BESIDE, Row, honest_build, seconds};
use crate::harness::{Api, Build, Builder, Captured, Daemon, Eavesdropper, Process, Site};

/// The smallest layer that is looked for: smaller ones have too little content to be recognised.
const KNOWABLE: u64 = 1 << 10;

/// More than the import endpoint takes.
pub const HELD: usize = 1_100;

/// The gateway, with its endpoint on an address of the test's own.
pub fn listening(site: &Site, address: Ipv4Addr, edit: impl FnOnce(&mut Command)) -> Daemon {
    Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.arg("--import-listen").arg(format!("{address}:0"));
        edit(gateway);
    })
}

/// What a step gets that listens while another build imports, and makes its requests again when that has ended.
pub fn listen_to_an_import(site: &Site, daemon: &Daemon, address: Ipv4Addr) -> Captured {
    let builder = Builder::buildctl(daemon);
    let cache = site.gha(Api::V2, ",mode=max");
    builder.build(&Build::new(&site.context).to(cache)).ok();
    builder.prune();
    let mut listening = Eavesdropper::listen(&builder, address);
    let import = Build::new(&site.context).from(site.gha(Api::V2, ""));
    let import = import.tar(site.tar("imported"));
    builder.build(&import).ok().no_warnings().all_cached();
    listening.replay();
    listening.end()
}

/// The layers of the cache, as they are stored.
pub fn layers(site: &Site) -> Vec<Vec<u8>> {
    let entries = site.service.entries(&site.token, "buildkit-blob-");
    let large = entries
        .iter()
        .filter(|entry| entry.size_in_bytes > KNOWABLE);
    let layers: Vec<_> = large
        .map(|entry| site.service.read(&site.token, &entry.key))
        .collect();
    assert!(!layers.is_empty());
    layers
}

/// Where a gateway's import endpoint listens.
pub fn endpoint(gateway: &Process) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, listens_at(gateway)))
}

/// Connections of one attacker to the import endpoint.
pub fn hold_the_endpoint(gateway: &Process) -> Vec<TcpStream> {
    let endpoint = endpoint(gateway);
    let connect = |_| TcpStream::connect(endpoint).expect("it takes connections");
    (0..HELD).map(connect).collect()
}

/// What it heard.
pub fn listens() -> Row {
    let (ours, stock) = captured(Ipv4Addr::new(127, 77, 2, 1));
    let say = |(heard, secrets): &(usize, Vec<String>)| {
        format!("{} KiB heard, {} of use", heard >> 10, secrets.len())
    };
    Row {
        attack: "a RUN step listens on `lo` to the import of another build: handles, tokens, URLs, layers",
        result: say(&ours),
        stock: format!("{}: it has no endpoint", say(&stock)),
        held: ours.1.is_empty(),
    }
}

/// What it got by asking again.
pub fn replays() -> Row {
    let (ours, stock) = captured(Ipv4Addr::new(127, 77, 2, 2));
    let tried = |secrets: &[String]| {
        let tried = secrets.iter().filter(|found| found.starts_with("tried"));
        tried.count()
    };
    let say = |secrets: &[String]| match tried(secrets) {
        0 => "heard nothing that can be repeated".to_owned(),
        requests => format!("repeated {requests} requests"),
    };
    Row {
        attack: "a RUN step tries all that it heard, once that build has ended",
        result: say(&ours.1),
        stock: say(&stock.1),
        held: tried(&ours.1) == 0,
    }
}

/// How many bytes it heard and the secrets in them, with the gateway and with stock.
fn captured(address: Ipv4Addr) -> ((usize, Vec<String>), (usize, Vec<String>)) {
    let seen = |stock: bool| {
        let site = Site::new();
        let daemon = if stock {
            Daemon::stock(&site.lab, "stock")
        } else {
            listening(&site, address, |_| ())
        };
        let captured = listen_to_an_import(&site, &daemon, address);
        (captured.heard(), captured.secrets(&layers(&site)))
    };
    (seen(false), seen(true))
}

/// Connections without a request.
pub fn holds_the_endpoint() -> Row {
    let site = Site::new();
    let gateway = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&gateway);
    let cache = site.gha(Api::V2, ",mode=max");
    builder.build(&Build::new(&site.context).to(cache)).ok();
    let import = |name: &str| {
        builder.prune();
        let import = Build::new(&site.context).from(site.gha(Api::V2, ""));
        let began = std::time::Instant::now();
        let outcome = builder.build(&import.tar(site.tar(name))).ok();
        outcome.no_warnings().all_cached();
        began.elapsed()
    };
    let before = import("before");
    let held = hold_the_endpoint(&gateway.process);
    let beside = import("beside");
    drop(held);
    let stock = Daemon::stock(&site.lab, "stock");
    let alone = honest_build(&stock, "alone");
    Row {
        attack: "a RUN step holds 1,100 connections of the import endpoint; another build imports",
        result: format!("{} → {}", seconds(before), seconds(beside)),
        stock: format!("it has no endpoint; a build takes {}", seconds(alone)),
        held: beside < BESIDE,
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
