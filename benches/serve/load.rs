//! Many clients that do one thing over and over.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::{runtime::Runtime, task::JoinSet, time::timeout};

use crate::{
    client::Client,
    failure::Failure,
    server::{Address, Server},
    vitals::Cost,
    work::Work,
};

/// How long each load lasts; what has begun is finished and counts, with the time it takes.
const LASTING: Duration = Duration::from_secs(2);

/// How long one thing may take: then it counts as failed, as a job would give up.
const DEADLINE: Duration = Duration::from_secs(30);

/// What came of a load.
#[derive(Debug, Serialize)]
pub struct Load {
    pub server: String,
    pub work: Work,
    pub clients: usize,
    pub round: usize,
    pub done: u64,
    pub failed: u64,
    pub bytes: u64,
    pub seconds: f64,
    /// The longest that one took.
    pub slowest: f64,
    pub cost: Cost,
}

/// What one client has done.
#[derive(Default)]
struct Share {
    done: u64,
    failed: u64,
    /// Why the last one has failed.
    failure: Option<Failure>,
    bytes: u64,
    slowest: Duration,
}

/// Lets clients do it.
pub fn run(runtime: &Runtime, server: &Server, work: Work, clients: usize, round: usize) -> Load {
    let watch = server.watch();
    let (shares, seconds) = runtime.block_on(shares(&server.address, work, clients));
    let cost = watch.end();
    let slowest = shares.iter().map(|share| share.slowest).max();
    if let Some(failure) = shares.iter().find_map(|share| share.failure.as_ref()) {
        eprintln!("{}: {}: {}", server.name, work.name(), failure.0);
    }
    Load {
        server: server.name.clone(),
        work,
        clients,
        round,
        done: shares.iter().map(|share| share.done).sum(),
        failed: shares.iter().map(|share| share.failed).sum(),
        bytes: shares.iter().map(|share| share.bytes).sum(),
        seconds,
        slowest: slowest.unwrap_or_default().as_secs_f64(),
        cost,
    }
}

async fn shares(address: &Address, work: Work, clients: usize) -> (Vec<Share>, f64) {
    let mut ready = Vec::new();
    for _ in 0..clients {
        ready.push(connect(address).await);
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for client in ready {
        tasks.spawn(share(address.clone(), work, client, begun + LASTING));
    }
    let shares = tasks.join_all().await;
    (shares, begun.elapsed().as_secs_f64())
}

async fn share(address: Address, work: Work, mut client: Client, until: Instant) -> Share {
    let mut share = Share::default();
    while Instant::now() < until {
        let begun = Instant::now();
        let once = timeout(DEADLINE, work.once(&mut client)).await;
        let late = || Failure(format!("no answer within {DEADLINE:?}"));
        match once.unwrap_or_else(|_| Err(late())) {
            Ok(bytes) => {
                share.bytes += bytes as u64;
                share.done += 1;
                share.slowest = share.slowest.max(begun.elapsed());
            }
            Err(failure) => {
                share.failed += 1;
                share.failure = Some(failure);
                client = connect(&address).await;
            }
        }
    }
    share
}

async fn connect(address: &Address) -> Client {
    let client = Client::connect(address).await;
    client.unwrap_or_else(|failure| panic!("{}: {}", address.socket, failure.0))
}
