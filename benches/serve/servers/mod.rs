//! The servers that are measured.

mod act;
mod engines;
mod falcondev;
mod ours;
mod share;

use std::{path::PathBuf, time::Duration};

use crate::server::Server;

pub use self::engines::{Database, Engines};

/// How long a server may take to answer.
const START: Duration = Duration::from_mins(1);

/// The folders of the other servers, as `peers/build.sh` leaves them.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Where its results lie.
    dir: PathBuf,
}

impl Peers {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }
}

/// All servers on their own disks; ours alone without the others' folder.
pub fn embedded(peers: Option<&Peers>) -> Vec<Server> {
    let mut servers = vec![ours::embedded(), ours::embedded_v1()];
    servers.extend(peers.map(falcondev::embedded));
    servers.extend(peers.map(act::embedded));
    servers
}

/// All servers that can use a database and a bucket.
pub fn on_engines(peers: Option<&Peers>, engines: &'static Engines) -> Vec<Server> {
    let ours = one_replica(engines, &engines.database());
    let falcondev = peers.map(|peers| falcondev::on_engines(peers, engines));
    [ours].into_iter().chain(falcondev).collect()
}

/// Ours with a database and a bucket.
pub fn one_replica(engines: &'static Engines, database: &Database<'_>) -> Server {
    ours::replicas("ours, PostgreSQL and S3", 1, None, engines, database)
}

/// One replica and two, each with this share of a processor, behind a load balancer.
pub fn scaled(engines: &'static Engines) -> Vec<Server> {
    [1, 2]
        .map(|count| {
            let replicas = if count == 1 { "replica" } else { "replicas" };
            let name = format!("{count} {replicas} of {} % of a core", share::PERCENT);
            ours::replicas(
                &name,
                count,
                Some(share::PERCENT),
                engines,
                &engines.database(),
            )
        })
        .into()
}
