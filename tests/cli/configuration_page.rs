//! `docs/CONFIGURATION.md` says what the program reads.

use std::path::Path;

use crate::program::run;

#[test]
fn the_page_is_what_the_program_prints() {
    let said = run(&["configuration-page"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines = page.lines().zip(said.stdout.lines());
    let stale = lines.find(|(written, printed)| written != printed);
    assert!(
        page == said.stdout,
        "docs/CONFIGURATION.md is stale; run: make docs\nfirst difference: {stale:?}"
    );
}

#[test]
fn every_limit_has_its_default_and_its_reason_on_the_page() {
    let page = run(&["configuration-page"]).stdout;
    for (variable, default) in [
        ("EXPORT_SPOOL", "10GB"),
        ("IMPORT_SPOOL", "8GB"),
        ("INDEX_WAIT", "5s"),
        ("CALL_TIMEOUT", "1m"),
        ("DRAIN", "10m"),
    ] {
        let row = page
            .lines()
            .find(|line| line.contains(&format!("`BUILDKIT_GHA_{variable}`")));
        let cells: Vec<_> = row.unwrap().split(" | ").collect();
        assert_eq!(cells[2], default, "{cells:?}");
        assert_ne!(cells[4], "– |", "{cells:?}");
    }
}
