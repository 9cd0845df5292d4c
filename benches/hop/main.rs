//! What the hop through the gateway costs: the same daemon directly and through the gateway, in turns.
//!
//! | file | what |
//! |---|---|
//! | `bed` | the daemon, the gateway before it, and what is built |
//! | `row` | what is measured, and what is asked of it |
//! | `sink` | an Actions cache that takes all and keeps nothing |
//! | `table` | the table |

#[path = "../../e2e/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
mod harness;
#[path = "../link/vertex.rs"]
mod vertex;
#[path = "../link/vitals.rs"]
mod vitals;

mod bed;
mod row;
mod sink;
mod table;

use std::{fs, path::Path};

use crate::{
    bed::Bed,
    row::{Measured, Row},
};

/// Where the figures go.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench");

fn main() {
    let bed = Bed::new();
    let measured: Vec<Measured> = Row::ALL
        .into_iter()
        .map(|row| {
            let measured = row.measure(&bed);
            eprintln!("{}", table::line(&measured));
            measured
        })
        .collect();
    println!("{}", table::table(&measured));

    fs::create_dir_all(RESULTS).expect("create a folder below target");
    let path = Path::new(RESULTS).join("hop.json");
    let json = serde_json::to_vec_pretty(&measured).expect("figures are JSON");
    fs::write(&path, json).expect("write the figures");
    eprintln!("written: {}", path.display());
}
