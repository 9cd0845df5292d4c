//! What the Actions cache service can do: calls, entries and bytes in a second, with 1, 16 and 256 clients at
//! once, beside other servers, on a disk and on PostgreSQL and S3, as one replica and as two; and a large entry
//! beside `dd` on the same disk.
//!
//! | file | what |
//! |---|---|
//! | `client` | one client: a connection that is kept, and a token |
//! | `protocol` | the calls of both versions of the Actions cache |
//! | `connection`, `failure` | a connection, and what may go wrong |
//! | `server`, `servers` | what is measured |
//! | `peers` | builds the other servers |
//! | `load` | many clients that do one thing over and over, and what that costs the server |
//! | `work` | the things they do |
//! | `cost` | what the service asks of its database and its bucket meanwhile |
//! | `large` | one large entry up and down, in turns with `dd` |
//! | `table` | the tables |
//!
//! The clients compute on the same cores as the servers. All servers of a table are measured in turns; each round
//! has new ones.

#[path = "../../tests/service/balancer.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with tests, which use all of it"
)]
mod balancer;
#[path = "../figures.rs"]
mod figures;
#[path = "../../e2e/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
mod harness;
#[path = "../link/vitals.rs"]
mod vitals;

mod client;
mod connection;
mod cost;
mod failure;
mod large;
mod load;
mod protocol;
mod server;
mod servers;
mod table;
mod work;

use tokio::runtime::Runtime;

use crate::{
    client::Client,
    load::Load,
    server::Server,
    servers::{Engines, Peers},
    table::Comparison,
    work::Work,
};

/// How many clients there are at once.
const CLIENTS: [usize; 3] = [1, 16, 256];

/// How often everything is measured.
const ROUNDS: usize = 3;

fn main() {
    // `cargo bench` adds a flag of its own.
    let dir = std::env::args()
        .skip(1)
        .find(|word| !word.starts_with("--"));
    let peers = dir.map(|dir| Peers::new(dir.into()));
    let runtime = Runtime::new().expect("a runtime");
    let engines: &'static Engines = Box::leak(Box::new(Engines::start()));

    let embedded = measure(&runtime, || servers::embedded(peers.as_ref()));
    let on_engines = measure(&runtime, || servers::on_engines(peers.as_ref(), engines));
    let scaled = measure(&runtime, || servers::scaled(engines));
    let database = engines.database();
    let replica = servers::one_replica(engines, &database);
    prepare(&runtime, &replica);
    let (costs, rows) = cost::measure(&runtime, &replica, engines, &database);
    drop(replica);
    let large = large::measure(&runtime, &servers::embedded(None)[0]);

    for loads in [&embedded, &on_engines, &scaled] {
        let comparison = Comparison::new(loads);
        println!("{}\n{}", comparison.rates(), comparison.costs());
    }
    println!("{}\n{}", table::costs(&costs, &rows), table::large(&large));

    let all = serde_json::json!({
        "embedded": embedded, "engines": on_engines, "scaled": scaled,
        "costs": costs, "rows": rows, "large": large,
    });
    figures::save("serve.json", &all);
}

/// Puts all loads on servers, in turns.
fn measure(runtime: &Runtime, start: impl Fn() -> Vec<Server>) -> Vec<Load> {
    let mut loads = Vec::new();
    for round in 0..ROUNDS {
        let servers = start();
        for server in &servers {
            prepare(runtime, server);
        }
        for work in Work::ALL {
            for clients in CLIENTS {
                for server in &servers {
                    // The disk has nothing else to do: what was written before is on it.
                    rustix::fs::sync();
                    let load = load::run(runtime, server, work, clients, round);
                    eprintln!("{}", table::line(&load));
                    loads.push(load);
                }
            }
        }
    }
    loads
}

/// Stores what is looked up and read later.
fn prepare(runtime: &Runtime, server: &Server) {
    let prepared = runtime.block_on(async {
        let mut client = Client::connect(&server.address).await?;
        work::prepare(&mut client).await
    });
    prepared.unwrap_or_else(|failure| panic!("{}: {}", server.name, failure.0));
}
