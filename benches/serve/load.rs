//! Many clients that do one thing over and over.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    client::Client,
    harness::Service,
    vitals::{Cost, Watch},
    work::{self, Work},
};

/// How long each load lasts; what has begun is finished and counts, with the time it takes.
const LASTING: Duration = Duration::from_secs(5);

/// The service and how to reach it.
pub struct Fixture<'a> {
    pub runtime: &'a Runtime,
    pub service: &'a Service,
    token: String,
}

/// What came of a load.
#[derive(Debug, Serialize)]
pub struct Load {
    pub work: Work,
    pub clients: usize,
    pub done: u64,
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
    bytes: u64,
    slowest: Duration,
}

impl<'a> Fixture<'a> {
    pub fn new(runtime: &'a Runtime, service: &'a Service, token: String) -> Self {
        let fixture = Self {
            runtime,
            service,
            token,
        };
        runtime.block_on(async { work::prepare(&mut fixture.client().await).await });
        fixture
    }

    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address(), &self.token).await
    }

    pub fn run(&self, work: Work, clients: usize) -> Load {
        let watch = Watch::begin(&self.service.process);
        let (shares, seconds) = self.runtime.block_on(self.shares(work, clients));
        let cost = watch.end();
        let slowest = shares.iter().map(|share| share.slowest).max();
        Load {
            work,
            clients,
            done: shares.iter().map(|share| share.done).sum(),
            bytes: shares.iter().map(|share| share.bytes).sum(),
            seconds,
            slowest: slowest.unwrap_or_default().as_secs_f64(),
            cost,
        }
    }

    async fn shares(&self, work: Work, clients: usize) -> (Vec<Share>, f64) {
        let mut ready = Vec::new();
        for _ in 0..clients {
            ready.push(self.client().await);
        }
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for client in ready {
            tasks.spawn(share(work, client, begun + LASTING));
        }
        let shares = tasks.join_all().await;
        (shares, begun.elapsed().as_secs_f64())
    }
}

async fn share(work: Work, mut client: Client, until: Instant) -> Share {
    let mut share = Share::default();
    while Instant::now() < until {
        let begun = Instant::now();
        share.bytes += work.once(&mut client).await as u64;
        share.done += 1;
        share.slowest = share.slowest.max(begun.elapsed());
    }
    share
}
