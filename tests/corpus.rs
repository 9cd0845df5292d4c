//! The bodies of the fuzz targets over their saved corpus, on stable Rust.
//!
//! `make fuzz` looks for new inputs; what it found once is tried here for ever.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
};

#[path = "../fuzz/src/lib.rs"]
mod bodies;

/// An input up to this length is also tried cut at each of its bytes: most of what breaks parsers
/// is an end where none was expected.
const CUT_LENGTH: usize = 512;

#[test]
fn every_saved_input_keeps_every_promise() {
    let saved: BTreeSet<_> = entries(&corpus()).iter().map(|path| name(path)).collect();
    let targets: BTreeSet<_> = bodies::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(
        saved, targets,
        "each target has a corpus, and each corpus a target"
    );
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let programs: BTreeSet<_> = entries(&source)
        .iter()
        .map(|path| name(path).trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(programs, targets, "each target is a program of the fuzzer");
    thread::scope(|scope| {
        for (name, body) in bodies::TARGETS {
            scope.spawn(move || run(name, body));
        }
    });
}

fn run(target: &str, body: fn(&[u8])) {
    let inputs = entries(&corpus().join(target));
    assert!(!inputs.is_empty(), "{target} has saved inputs");
    for path in inputs {
        let input = fs::read(&path).unwrap();
        let named = Named(&path);
        body(&input);
        for end in 0..input.len().min(CUT_LENGTH) {
            body(&input[..end]);
        }
        drop(named);
    }
}

/// Says which input a body panicked on.
struct Named<'a>(&'a Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the input is {}, or a beginning of it", self.0.display());
        }
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    entries
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
