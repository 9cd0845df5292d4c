//! How the gateway's cost grows: with layers, with builds at once, with the size of the index.
//!
//! | file | what |
//! |---|---|
//! | `fixture` | the service, a builder whose steps are done, gateways before it |
//! | `layers` | one build of 10, 100 and 1,000 layers |
//! | `together` | 1, 10 and 50 builds at once |
//! | `index` | an import and an export beside an index of 10,000 layers and 10,000 records |
//! | `table` | the table |

#[path = "../figures.rs"]
mod figures;
#[path = "../../e2e/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
mod harness;
#[path = "../micro/large.rs"]
mod large;
#[path = "../link/vertex.rs"]
mod vertex;
#[path = "../link/vitals.rs"]
mod vitals;

mod fixture;
mod index;
mod layers;
mod table;
mod together;

use crate::{fixture::Fixture, table::Row};

fn main() {
    let fixture = Fixture::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |row: Row| {
        eprintln!("{}", row.line());
        rows.push(row);
    };
    for count in [10, 100, 1_000] {
        layers::measure(&fixture, count)
            .into_iter()
            .for_each(&mut add);
    }
    for count in [1, 10, 50] {
        add(together::measure(&fixture, count));
    }
    add(index::measure(&fixture));
    println!("{}", table::table(&rows));

    figures::save("growth.json", &rows);
}
