//! `buildkit-gha serve`.

use std::{net::SocketAddr, process::Command, sync::Arc};

use super::{Database, START, engines::Engines, share::Share};
use crate::{
    balancer::Balancer,
    harness::{Http, Lab, PROGRAM, Process, Service, command, run},
    protocol::Protocol,
    server::{Address, Server},
};

/// What all tokens are for.
const SCOPE: &str = "refs/heads/main=rw";

/// Where v1 is.
const V1: &str = "/_apis/artifactcache/";

/// One process, `SQLite` and files.
pub fn embedded() -> Server {
    embedded_as("ours", Protocol::V2)
}

/// The same, reached over v1.
pub fn embedded_v1() -> Server {
    embedded_as("ours, v1", Protocol::V1(V1.to_owned()))
}

fn embedded_as(name: &str, protocol: Protocol) -> Server {
    let lab = Lab::new();
    let service = Service::start(&lab);
    let address = Address {
        socket: service.address(),
        protocol,
        token: service.token(&[SCOPE]),
    };
    Server::new(name, address, vec![service.process]).with(lab)
}

/// Replicas with a database and a bucket, each with a share of a processor if one is given; several are behind a
/// load balancer, and so is one that is compared with them.
pub fn replicas(
    name: &str,
    count: usize,
    percent: Option<u32>,
    engines: &'static Engines,
    database: &Database<'_>,
) -> Server {
    let lab = Lab::new();
    let database = database.url();
    let store = engines.bucket.new_place();
    let set = |program: &mut Command| {
        program.envs(engines.bucket.variables());
        program.env("BUILDKIT_GHA_DATABASE", &database);
    };
    let mut processes = Vec::new();
    let mut sockets = Vec::new();
    for replica in 0..count {
        let mut serve = command(&lab, PROGRAM);
        set(&mut serve);
        serve.args(["serve", "--listen", "127.0.0.1:0", "--store", &store]);
        serve
            .arg("--data-dir")
            .arg(lab.path(format!("replica-{replica}")));
        let (process, socket) = start(&lab, serve);
        processes.push(process);
        sockets.push(socket);
    }
    let mut mint = command(&lab, PROGRAM);
    set(&mut mint);
    mint.args([
        "token",
        "--repository",
        Service::REPOSITORY,
        "--scope",
        SCOPE,
    ]);
    let token = run(&lab, "token", mint, START)
        .ok("token")
        .trim()
        .to_owned();
    let shares = percent.map(|percent| shares(percent, &processes));
    let balancer = percent.map(|_| Balancer::start(&lab.path(""), &sockets));
    let socket = balancer.as_ref().map_or(sockets[0], socket_of);
    let address = Address {
        socket,
        protocol: Protocol::V2,
        token,
    };
    Server::new(name, address, processes)
        .with(balancer)
        .with(shares)
        .with(lab)
}

fn socket_of(balancer: &Balancer) -> SocketAddr {
    let socket = balancer.url.strip_prefix("http://");
    socket
        .and_then(|socket| socket.parse().ok())
        .expect("its address")
}

fn shares(percent: u32, processes: &[Process]) -> Vec<Share> {
    let of = |process| Share::of(percent, process);
    processes.iter().map(of).collect()
}

/// Starts one and waits until it answers.
fn start(lab: &Arc<Lab>, serve: Command) -> (Process, SocketAddr) {
    let mut process = Process::start(lab, "serve", serve);
    let socket: SocketAddr = process.until("it says where it listens", START, |log| {
        let line = log
            .lines()
            .find_map(|line| line.strip_prefix("listening on http://"))?;
        line.parse().ok()
    });
    process.until("/healthz answers", START, |_| {
        Http::new(socket).text("/healthz")
    });
    (process, socket)
}
