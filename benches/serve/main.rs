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

/// What can be measured, by the words that choose it.
const PARTS: [&str; 5] = ["embedded", "engines", "scaled", "costs", "large"];

fn main() {
    // `cargo bench` adds a flag of its own.
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words = words.iter().filter(|word| !word.starts_with("--"));
    let (chosen, dirs): (Vec<_>, Vec<_>) = words.partition(|word| PARTS.contains(&word.as_str()));
    let peers = dirs.first().map(|dir| Peers::new(dir.into()));
    let is_chosen = |part: &str| chosen.is_empty() || chosen.iter().any(|word| *word == part);
    let runtime = Runtime::new().expect("a runtime");
    for part in PARTS.into_iter().filter(|part| is_chosen(part)) {
        println!("{}", measure(part, &runtime, peers.as_ref()));
    }
}

/// Measures a part, saves its figures, and answers its tables.
fn measure(part: &str, runtime: &Runtime, peers: Option<&Peers>) -> String {
    let save = |figures: &serde_json::Value| figures::save(&format!("serve-{part}.json"), figures);
    let compared = |loads: Vec<Load>| {
        save(&serde_json::json!(loads));
        let comparison = Comparison::new(&loads);
        format!("{}\n{}", comparison.rates(), comparison.costs())
    };
    match part {
        "embedded" => compared(in_turns(runtime, || servers::embedded(peers))),
        "engines" => compared(in_turns(runtime, || {
            servers::on_engines(peers, Engines::shared())
        })),
        "scaled" => compared(in_turns(runtime, || servers::scaled(Engines::shared()))),
        "costs" => {
            let engines = Engines::shared();
            let database = engines.database();
            let replica = servers::one_replica(engines, &database);
            prepare(runtime, &replica);
            let (costs, rows) = cost::measure(runtime, &replica, engines, &database);
            save(&serde_json::json!({ "costs": costs, "rows": rows }));
            table::costs(&costs, &rows)
        }
        _ => {
            let large = large::measure(runtime, &servers::embedded(None)[0]);
            save(&serde_json::json!(large));
            table::large(&large)
        }
    }
}

/// Puts all loads on servers, in turns.
fn in_turns(runtime: &Runtime, start: impl Fn() -> Vec<Server>) -> Vec<Load> {
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
