//! What an attack may cost other builds.

use std::{fs, path::Path};

use crate::attack::{self, entries, index, tokens};

/// Fewer than `make attack` makes, and enough for stock to need hundreds of megabytes.
const EMPTY: usize = 600_000;
const DEEP: usize = 1_500;

/// What an index that is refused may cost buildkitd: the gateway alone reads it.
const LITTLE: u64 = 64 << 20;

#[test]
fn an_index_of_empty_results_costs_buildkitd_nothing() {
    let index = index::empty_chains(EMPTY);
    let (stock, ours) = (index::import(true, &index), index::import(false, &index));
    assert!(ours.grew < stock.grew.min(LITTLE), "{ours:?} {stock:?}");
    // An empty index is no mistake.
    assert_eq!(ours.warnings, Vec::<String>::new());
}

#[test]
fn an_index_of_results_upon_results_is_refused_with_a_reason() {
    let index = index::deep(DEEP);
    let (stock, ours) = (index::import(true, &index), index::import(false, &index));
    assert!(ours.grew < stock.grew.min(LITTLE), "{ours:?} {stock:?}");
    let told = |warning: &String| warning.contains("MB of memory");
    assert!(ours.warnings.iter().any(told), "{ours:?}");
}

/// What one token among many can do to `serve`.
#[test]
fn one_token_takes_no_more_than_its_share() {
    let attacks = [
        entries::reservations,
        entries::one_byte,
        entries::repeated_block,
        entries::late_put,
        tokens::pull_request,
    ];
    for attack in attacks {
        let row = attack();
        assert!(row.held, "{row:#?}");
    }
}

/// All of them, side by side with stock, and the document. `ATTACK` chooses those whose names have all of
/// its words, and then no document is written.
#[test]
#[ignore = "takes minutes: make attack"]
fn all_attacks() {
    #[allow(clippy::disallowed_methods, reason = "a setting of this test alone")]
    let chosen = std::env::var("ATTACK").unwrap_or_default();
    let is_chosen = |name: &str| chosen.split_whitespace().all(|word| name.contains(word));
    let mut rows = Vec::new();
    for (name, attack) in attack::ALL.into_iter().filter(|(name, _)| is_chosen(name)) {
        let row = attack();
        eprintln!("{name}: {row:?}");
        rows.push(row);
    }
    let names = attack::ALL.map(|(name, _)| name);
    assert!(
        !rows.is_empty(),
        "ATTACK={chosen:?} names no attack of {names:?}"
    );
    let document = attack::document(&rows);
    println!("{document}");
    if chosen.is_empty() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ATTACKS.md");
        fs::write(path, document).expect("write the document");
    }
    let broken: Vec<_> = rows.iter().filter(|row| !row.held).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
