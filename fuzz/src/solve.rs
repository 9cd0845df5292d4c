//! The cache options of a build: only those that are replaced change, in all places alike.

use std::collections::BTreeMap;

use buildkit_gha::gateway::internals::rewrite::{
    Edit, Entry, read_llb_imports, read_solve, rewrite_llb_solve, rewrite_solve,
    strip_cache_manifest,
};

/// Takes the data as a `Control.SolveRequest`, an `LLBBridge.SolveRequest` and a `SolveResponse`.
pub fn body(data: &[u8]) {
    if let Ok(same) = rewrite_solve(data, |_| Edit::Keep, |_| Edit::Keep) {
        assert_eq!(same, data, "a Solve without a change");
        replaces_in_a_solve(data);
    }
    if let Ok(same) = rewrite_llb_solve(data, |_| Edit::Keep) {
        assert_eq!(same, data, "an LLBBridge.Solve without a change");
        replaces_in_an_llb_solve(data);
    }
    if let Ok(same) = strip_cache_manifest(data, |_| false) {
        assert_eq!(same, data, "somebody else's manifest");
    }
    let _ = strip_cache_manifest(data, |_| true);
}

fn ours() -> Entry {
    Entry {
        kind: "ours".to_owned(),
        attrs: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
    }
}

fn replace(entry: &Entry) -> Edit {
    if entry.kind == "gha" {
        Edit::Replace(vec![ours()])
    } else {
        Edit::Keep
    }
}

fn replaced(entries: &[Entry]) -> Vec<Entry> {
    let replaced = |entry: &Entry| match replace(entry) {
        Edit::Replace(entries) => entries,
        Edit::Keep => vec![entry.clone()],
    };
    entries.iter().flat_map(replaced).collect()
}

fn replaces_in_a_solve(data: &[u8]) {
    let before = read_solve(data).expect("what was rewritten can be read");
    let rewritten = rewrite_solve(data, replace, replace).expect("as before");
    let after = read_solve(&rewritten).expect("what was written can be read");
    let (mut expected, others): (Vec<_>, Vec<_>) = replaced(&before.exports)
        .into_iter()
        .partition(|entry| *entry == ours());
    expected.extend(others);
    // An export that looks like ours already is not moved, so only the order may differ.
    let sorted = |mut entries: Vec<Entry>| {
        entries.sort_by_key(|entry| format!("{} {:?}", entry.kind, entry.attrs));
        entries
    };
    assert_eq!(sorted(after.exports), sorted(expected));
    assert_eq!(after.imports, replaced(&before.imports));
    assert_eq!(after.build_ref, before.build_ref);
    assert_eq!(after.session, before.session);
    assert_eq!(after.frontend, before.frontend);
}

fn replaces_in_an_llb_solve(data: &[u8]) {
    let Ok(before) = read_llb_imports(data) else {
        return;
    };
    let rewritten = rewrite_llb_solve(data, replace).expect("as before");
    let after = read_llb_imports(&rewritten).expect("what was written can be read");
    assert_eq!(after, replaced(&before));
}
