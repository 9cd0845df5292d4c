//! No file needs a file that needs it: whichever is read first can be understood by itself (ADR 68).

#![allow(clippy::unwrap_used, reason = "a test may end so")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

mod source;

use source::{Import, Tree};

/// By file, what it takes from which other file.
type Needs = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// The other crates of the package; each bench is one.
const TESTS_AND_BENCHES: [&str; 7] = [
    "e2e",
    "benches/growth",
    "benches/hop",
    "benches/link",
    "benches/micro",
    "benches/serve",
    "fuzz/src",
];

#[test]
fn no_circle_of_files_in_the_program() {
    assert_no_circle("src");
}

#[test]
fn no_circle_of_files_in_tests_and_benches() {
    TESTS_AND_BENCHES.into_iter().for_each(assert_no_circle);
}

fn assert_no_circle(folder: &str) {
    let tree = Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    assert!(tree.files().count() > 1, "{folder} has files");
    let circles = circles(&needs(&tree.imports()));
    assert!(circles.is_empty(), "{folder}: {}", circles.join("\n"));
}

#[test]
fn circles_are_found() {
    let text = |name: &str, text: &str| (PathBuf::from(name), text.to_owned());
    let tree = Tree::from_texts([
        text("lib.rs", "mod a; mod b; mod c; mod d;"),
        text(
            "a.rs",
            "use crate::{b::{self, B}, d}; fn f() { b::g(d::D) }",
        ),
        text("b.rs", "pub use crate::c::C; pub struct B; pub fn g() {}"),
        text(
            "c.rs",
            "use super::b::C as Renamed; pub struct C(crate::a::f);",
        ),
        // Tests, texts and comments take nothing.
        text(
            "d.rs",
            "pub struct D(&'static str); // crate::a\n
             const TEXT: &str = \"crate::a::f\";
             #[cfg(test)] mod tests { use crate::a::f; }",
        ),
    ]);
    let needs = needs(&tree.imports());
    // `b` hands `C` on, which is none of its needs; `c` finds its own `C` there.
    assert!(circles(&needs).is_empty(), "{needs:?}");
    let tree = Tree::from_texts([
        text("lib.rs", "mod a; mod b;"),
        text("a.rs", "use crate::b; fn f() { b::g() }"),
        text("b.rs", "pub fn g() { super::a::f() }"),
    ]);
    let found = circles(&self::needs(&tree.imports()));
    assert_eq!(
        found,
        ["a.rs, b.rs\n  a.rs -> b.rs: g\n  b.rs -> a.rs: f\n"]
    );
}

/// A `pub use` takes nothing for its file. What a file takes from that of the module right above it is
/// the same module's: a part may use what the whole defines.
fn needs(imports: &BTreeSet<Import>) -> Needs {
    let mut needs = Needs::new();
    let counts = |import: &&Import| !import.handed_on && !import.is_from_above();
    for import in imports.iter().filter(counts) {
        let of_file = needs.entry(import.from.clone()).or_default();
        let names = of_file.entry(import.to.clone()).or_default();
        names.extend(import.named.last().cloned());
    }
    needs
}

/// Each circle: its files, and what ties them.
fn circles(needs: &Needs) -> Vec<String> {
    let reach: BTreeMap<_, _> = needs
        .keys()
        .map(|file| (file, reached(needs, file)))
        .collect();
    let mut circles = BTreeSet::new();
    for (file, reached) in &reach {
        let back = |other: &&PathBuf| reach.get(other).is_some_and(|back| back.contains(*file));
        let circle: BTreeSet<&PathBuf> = reached.iter().filter(back).collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles.iter().map(|circle| told(circle, needs)).collect()
}

/// All files that a file needs, and those that these need.
fn reached(needs: &Needs, file: &PathBuf) -> BTreeSet<PathBuf> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for next in needs.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    reached
}

fn told(circle: &BTreeSet<&PathBuf>, needs: &Needs) -> String {
    let names: Vec<_> = circle
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let mut told = format!("{}\n", names.join(", "));
    for file in circle {
        let inside = needs[*file].iter().filter(|(to, _)| circle.contains(to));
        for (to, names) in inside {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let (from, to) = (file.display(), to.display());
            let _ = writeln!(told, "  {from} -> {to}: {}", names.join(", "));
        }
    }
    told
}
