//! A remote build cache over a simulated link: stock `BuildKit`'s `type=gha` and ours side by side.
//!
//! | file | what |
//! |---|---|
//! | `options` | what the command line asks for |
//! | `links`, `content`, `plan` | the links, what is built on them, and the rows of the table |
//! | `work`, `side` | the kinds of rows, and the two programs that are compared |
//! | `fixture`, `daemons`, `setup` | the service and its proxies; a daemon, with the gateway before it or without |
//! | `rounds` | how each kind of row is made ready and measured |
//! | `measure`, `vitals`, `vertex` | one build: calls and bytes, memory and CPU, the export's parts |
//! | `result`, `limit`, `target` | a row's medians, what the link allows, what is asked of it |
//! | `table`, `page` | the table, and `docs/PERFORMANCE.md` around it |
//!
//! It uses the harness and the proxy of the end-to-end tests.

#[path = "../../e2e/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
mod harness;
#[path = "../../e2e/proxy/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
mod proxy;

mod content;
mod daemons;
mod fixture;
mod limit;
mod links;
mod measure;
mod options;
mod page;
mod plan;
mod result;
mod rounds;
mod setup;
mod side;
mod table;
mod target;
mod vertex;
mod vitals;
mod work;

use std::{fs, path::Path};

use self::{fixture::Fixture, options::Options, plan::Plan, result::Row};

/// Where the figures go.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench");

/// The page that a full run writes.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PERFORMANCE.md");

fn main() {
    let options = Options::from_args();
    let mut rows: Vec<Row> = Vec::new();
    let plan = options.plan();
    for group in plan.chunk_by(Plan::shares_fixture) {
        let mut fixture = Fixture::new(group[0].content);
        for row in group {
            eprintln!("{row} …");
            for row in rounds::measure(&mut fixture, row) {
                eprintln!("{}", table::line(&row, &rows));
                rows.push(row);
            }
        }
    }
    println!("{}", table::tables(&rows));
    save(&options, &rows);
}

fn save(options: &Options, rows: &[Row]) {
    fs::create_dir_all(RESULTS).expect("create a folder below target");
    let path = Path::new(RESULTS).join(options.file());
    let json = serde_json::to_vec_pretty(rows).expect("rows are JSON");
    fs::write(&path, json).expect("write the figures");
    eprintln!("written: {}", path.display());
    if options.writes_page() {
        fs::write(PAGE, page::page(rows)).expect("write the page");
        eprintln!("written: {PAGE}");
    }
}
