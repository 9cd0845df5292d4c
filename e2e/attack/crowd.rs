//! Many connections to `serve`, of somebody without a token.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use buildkit_gha::lifecycle::raise_file_limit;

use super::{BESIDE, Row, seconds};
use crate::harness::{Http, Site};

/// More than the service has places.
const IDLE: usize = 2_000;

/// Bodies that are sent slowly.
const SLOW: usize = 1_024;

/// Where bodies go that nobody has a token for.
const PATHS: [&str; 3] = [
    "POST /_apis/artifactcache/caches",
    "PATCH /_apis/artifactcache/caches/7",
    "PUT /blobs/actions-cache/7?se=9999999999&sp=w&sig=AAAA",
];

/// So many connections, each of which sends this and no more.
fn gather(address: SocketAddr, count: usize, bytes: impl Fn(usize) -> String) -> Vec<TcpStream> {
    raise_file_limit().expect("the limit of files can be raised");
    let connect = |n| {
        let mut stream = TcpStream::connect(address).expect("it takes connections");
        // Whoever is sent away at once may be sent away before this.
        let _ = stream.write_all(bytes(n).as_bytes());
        stream
    };
    (0..count).map(connect).collect()
}

/// Sockets that say nothing.
pub fn idle_sockets() -> Row {
    row("2,000 idle sockets at `serve`, no token", IDLE, |_| {
        String::new()
    })
}

/// Bodies that do not end.
pub fn slow_bodies() -> Row {
    let request = |n: usize| {
        let path = PATHS[n % PATHS.len()];
        format!(
            "{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x.y.z\r\n\
             content-type: application/json\r\ncontent-length: 200000\r\n\r\n{{"
        )
    };
    row(
        "1,024 bodies that are sent slowly to `serve`, no token",
        SLOW,
        request,
    )
}

fn row(attack: &'static str, count: usize, bytes: impl Fn(usize) -> String) -> Row {
    let site = Site::new();
    let before = answers(&site);
    let crowd = gather(site.service.address(), count, bytes);
    let beside = answers(&site);
    drop(crowd);
    let memory = site.service.process.peak_memory();
    let [health, lookup] = [0, 1].map(|at| {
        let (before, beside) = (before[at], beside[at]);
        format!("{} → {}", seconds(before), seconds(beside))
    });
    Row::on_the_service(
        attack,
        format!(
            "/healthz {health}; lookup {lookup}; {} MiB at most",
            memory >> 20
        ),
        beside.iter().all(|time| *time < BESIDE),
    )
}

/// How long /healthz and a lookup take, each on a connection of its own.
pub fn answers(site: &Site) -> [Duration; 2] {
    let http = Http::new(site.service.address());
    let timed = |http: &Http, path: &str| {
        let began = Instant::now();
        let answer = http.send("GET", path, b"").expect("an answer");
        assert!((200..300).contains(&answer.status), "{answer:?}");
        began.elapsed()
    };
    let lookup = "/_apis/artifactcache/cache?keys=nothing&version=v";
    [
        timed(&http, "/healthz"),
        timed(&http.token(&site.token), lookup),
    ]
}
