//! Thousands of malformed requests over bare sockets: each is answered with 4xx, and the service is
//! none the worse for it. `FIRE_SEED` repeats a run.

use std::time::Duration;

use futures_util::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    hostile::Target,
    program::{Program, Remote, seed},
};

const REQUESTS: u64 = 4000;

/// How many at once.
const WORKERS: u64 = 16;

/// Distinguishes an answer that is late from one that never comes.
const HANG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_refused() {
    let seed = seed();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("cache");
    let mut program = Program::start(&data, &dir.path().join("log"));
    let remote = program.client(&data);
    let target = aim(&remote, &program).await;
    let address = program.url.strip_prefix("http://").unwrap();
    let workers = (0..WORKERS).map(|worker| fire(&target, address, seed.wrapping_add(worker)));
    join_all(workers).await;
    program.is_sound();
    assert_eq!(remote.read("there").await.unwrap().unwrap(), b"content");
}

async fn aim(remote: &Remote, program: &Program) -> Target {
    let path = |url: &str| url.strip_prefix(&program.url).unwrap().to_owned();
    let create = async |key: &str| {
        let created = remote.create(key).await.unwrap().json();
        created["signed_upload_url"].as_str().unwrap().to_owned()
    };
    let there = create("there").await;
    remote.put(&there, "", b"content".to_vec()).await.unwrap();
    remote.finalize("there", 7).await.unwrap();
    let read = remote.find("there").await.unwrap().unwrap();
    let reserved = remote.reserve("v1").await.unwrap().json();
    Target {
        token: remote.token.clone(),
        read: path(&read),
        write: path(&create("v2").await),
        write_key: "v2".to_owned(),
        id: reserved["cacheId"].as_i64().unwrap(),
    }
}

async fn fire(target: &Target, address: &str, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..REQUESTS / WORKERS {
        let must_fail = rng.random_bool(0.7);
        let request = if must_fail {
            target.refused(&mut rng)
        } else {
            target.mutated(&mut rng)
        };
        let bytes = request.bytes();
        let answer = tokio::time::timeout(HANG, exchange(address, &bytes)).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer: {}", show(&bytes)));
        let status = status(&answer);
        let fine = match status {
            Some(status) if must_fail => (400..500).contains(&status),
            Some(status) => status < 500,
            None => !must_fail,
        };
        assert!(fine, "{status:?}\n{}\n\n{}", show(&bytes), show(&answer));
    }
}

/// Sends the bytes and reads all that comes back.
async fn exchange(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = stream.split();
    let mut answer = Vec::new();
    // The service may answer and hang up before it has read all of it.
    let (_, _) = tokio::join!(to.write_all(bytes), from.read_to_end(&mut answer));
    answer
}

fn status(answer: &[u8]) -> Option<u16> {
    let status = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    str::from_utf8(status).ok()?.parse().ok()
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned()
}
