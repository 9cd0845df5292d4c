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

/// The word that chooses rows on the command line, and what measures them.
type Group = (&'static str, fn(&Fixture) -> Vec<Row>);

const GROUPS: [Group; 3] = [
    ("layers", |fixture| {
        let counts = [10, 100, 1_000].into_iter();
        counts
            .flat_map(|count| layers::measure(fixture, count))
            .collect()
    }),
    ("together", |fixture| {
        [1, 10, 50]
            .map(|count| together::measure(fixture, count))
            .into()
    }),
    ("index", |fixture| vec![index::measure(fixture)]),
];

fn main() {
    // Cargo says `--bench` to every bench.
    let words: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let is_chosen = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let chosen: Vec<_> = GROUPS
        .into_iter()
        .filter(|(name, _)| is_chosen(name))
        .collect();
    assert!(
        !chosen.is_empty(),
        "{words:?} is none of layers, together, index"
    );
    let fixture = Fixture::new();
    let mut rows: Vec<Row> = Vec::new();
    for (_, measure) in chosen {
        for row in measure(&fixture) {
            eprintln!("{}", row.line());
            rows.push(row);
        }
    }
    println!("{}", table::table(&rows));

    figures::save("growth.json", &rows);
}
