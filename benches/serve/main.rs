//! What the embedded Actions cache service can do: calls, entries and bytes in a second, with 1, 16
//! and 256 clients at once, and a large entry beside `dd` on the same disk.
//!
//! | file | what |
//! |---|---|
//! | `client` | one client: a connection that is kept, and the calls of v2 |
//! | `load` | many clients that do one thing over and over, and what that costs the service |
//! | `work` | the things they do |
//! | `large` | one large entry up and down, in turns with `dd` |
//! | `table` | the table |
//!
//! The clients compute on the same cores as the service.

#[path = "../figures.rs"]
mod figures;
#[path = "../../e2e/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
mod harness;
#[path = "../link/vitals.rs"]
mod vitals;

mod client;
mod large;
mod load;
mod table;
mod work;

use crate::{
    harness::{Lab, Service},
    load::Load,
    work::Work,
};

/// How many clients there are at once.
const CLIENTS: [usize; 3] = [1, 16, 256];

fn main() {
    let lab = Lab::new();
    let service = Service::start(&lab);
    let token = service.token(&["refs/heads/main=rw"]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let fixture = load::Fixture::new(&runtime, &service, token);

    let mut loads: Vec<Load> = Vec::new();
    for work in Work::ALL {
        for clients in CLIENTS {
            let load = fixture.run(work, clients);
            eprintln!("{}", table::line(&load));
            loads.push(load);
        }
    }
    let large = large::measure(&fixture, &lab);
    println!("{}\n{}", table::loads(&loads), table::large(&large));

    let both = serde_json::json!({ "loads": loads, "large": large });
    figures::save("serve.json", &both);
}
