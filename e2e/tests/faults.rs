//! A cache fault never fails, cancels or stalls a build, and never leaves a cache that lies.

use std::{collections::HashMap, fs, path::Path};

use crate::faults::{
    cell::Cell,
    detail,
    matrix::{self, Result},
    plan, table,
};

/// Where the run leaves each cell's figures, and the output of the builds that broke a promise.
const FINDINGS: &str = env!("CARGO_TARGET_TMPDIR");

/// The cells that stand for the others.
#[test]
fn some_faults() {
    judge(&matrix::run(&plan::subset(), show));
}

/// All of them, and the document. `FAULTS` chooses those whose names have all of its texts, which commas
/// separate, and then no document is written; `FAULTS=again` takes what the last run has proven as it is, and
/// runs the others.
#[test]
#[ignore = "takes half an hour: make faults"]
fn all_faults() {
    #[allow(clippy::disallowed_methods, reason = "a setting of this test alone")]
    let words = std::env::var("FAULTS").unwrap_or_default();
    let seen = Path::new(FINDINGS).join("faults.json");
    let (known, words) = match words.as_str() {
        "again" => (detail::read(&seen), ""),
        words => (HashMap::new(), words),
    };
    let chosen = |cell: &Cell| {
        let name = cell.to_string();
        words.split(',').all(|word| name.contains(word.trim()))
    };
    let cells: Vec<_> = plan::all().into_iter().filter(chosen).collect();
    assert!(
        !cells.is_empty(),
        "FAULTS={words:?} names no cell; a name is like {:?}",
        plan::subset()[0].to_string()
    );
    let results = matrix::run_but(&known, &cells, show);
    let document = table::document(&results);
    if words.is_empty() {
        detail::write(&seen, &results);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FAULTS.md");
        fs::write(path, document).expect("write the document");
    } else {
        println!("{document}");
    }
    judge(&results);
}

#[test]
fn the_plan_has_no_cell_twice() {
    let mut names: Vec<_> = plan::all().iter().map(Cell::to_string).collect();
    let all = names.len();
    println!("{all} cells");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

/// One line for each cell, and all that the build said where a promise is broken.
fn show(result: &Result) {
    let (cell, seen) = (&result.cell, &result.seen);
    let (verdict, seconds, hits, time) = (seen.verdict, seen.seconds, seen.hits, result.time);
    println!("{cell}: {verdict:?}, {seconds:.1} s ({time}), {hits} hits");
    if !result.broken.is_empty() {
        println!("  BROKEN: {}", result.broken.join("; "));
        let name = cell.to_string().replace([' ', '/', ':'], "-");
        let path = Path::new(FINDINGS).join(format!("{name}.log"));
        fs::write(path, &seen.output).expect("write what was seen");
    }
}

/// Fails when a cell broke its promise.
fn judge(results: &[Result]) {
    let broken = results.iter().filter(|result| !result.broken.is_empty());
    let broken: Vec<_> = broken
        .map(|result| format!("{}: {}", result.cell, result.broken.join("; ")))
        .collect();
    assert!(
        broken.is_empty(),
        "{} of {} cells broke a promise (their builds are in {FINDINGS}):\n{}",
        broken.len(),
        results.len(),
        broken.join("\n")
    );
}
