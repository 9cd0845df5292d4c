//! `docs/METRICS.md` says what the program serves.

use std::path::Path;

use crate::program::run;

#[test]
fn the_page_is_up_to_date() {
    let said = run(&["metrics-page"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines = page.lines().zip(said.stdout.lines());
    let stale = lines.find(|(written, printed)| written != printed);
    assert!(
        page == said.stdout,
        "docs/METRICS.md is stale; run: make docs\nfirst difference: {stale:?}"
    );
}

#[test]
fn names_and_units_are_prometheus_own() {
    let page = run(&["metrics-page"]).stdout;
    let rows: Vec<Vec<_>> = (page.lines())
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split(" | ").collect())
        .collect();
    assert!(rows.len() > 30, "{page}");
    for row in rows {
        let name = row[0].trim_matches(['|', ' ', '`']);
        let ours = name.starts_with("buildkit_gha_") || name.starts_with("process_");
        assert!(ours, "{name}");
        assert_eq!(row[1] == "counter", name.ends_with("_total"), "{name}");
        if row[1] == "histogram" {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        for unit in ["_ms", "_milliseconds", "_kb", "_mb", "_megabytes", "_count"] {
            assert!(!name.ends_with(unit), "{name}");
        }
        assert!(row[3].len() > 10, "{name} has no help");
    }
}
