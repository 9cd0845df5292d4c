//! What the hop through the gateway costs: the same daemon directly and through the gateway, in turns.
//!
//! | file | what |
//! |---|---|
//! | `fixture` | the daemon, the gateway before it, and what is built |
//! | `row` | what is measured, and what is asked of it |
//! | `sink` | an Actions cache that takes all and keeps nothing |
//! | `table` | the table |

#[path = "../figures.rs"]
mod figures;
#[path = "../../e2e/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
mod harness;
#[path = "../link/vertex.rs"]
mod vertex;
#[path = "../link/vitals.rs"]
mod vitals;

mod fixture;
mod row;
mod sink;
mod table;

use crate::{
    fixture::Fixture,
    row::{Measured, Row},
};

fn main() {
    let fixture = Fixture::new();
    let measured: Vec<Measured> = Row::ALL
        .into_iter()
        .map(|row| {
            let measured = row.measure(&fixture);
            eprintln!("{}", table::line(&measured));
            measured
        })
        .collect();
    println!("{}", table::table(&measured));

    figures::save("hop.json", &measured);
}
