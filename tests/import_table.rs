//! Holds the table of `docs/ARCHITECTURE.md`: which room may import which.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What every room may import; these import only one another.
const BASE: [&str; 10] = [
    "digest",
    "http1",
    "lifecycle",
    "net",
    "proto",
    "protocol",
    "secret",
    "telemetry",
    "units",
    "wire",
];

/// What a room may import besides the base.
const ROOMS: [(&str, &[&str]); 8] = [
    ("actions", &[]),
    ("content", &[]),
    ("service", &[]),
    ("cache", &["actions", "content"]),
    ("config", &["actions", "cache", "gateway"]),
    ("gateway", &["cache", "content"]),
    ("app", &["actions", "cache", "config", "gateway"]),
    ("cli", &["app", "config", "content", "service"]),
];

#[test]
fn no_room_imports_what_it_must_not_know() {
    let rooms: BTreeMap<_, _> = ROOMS.into_iter().collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&source) {
        let path = file.strip_prefix(&source).unwrap();
        let room = room_of(path);
        // Tests may put together what the program keeps apart.
        if ["lib", "main"].contains(&room.as_str()) || path.ends_with("tests.rs") {
            continue;
        }
        let allowed = rooms.get(room.as_str()).copied().unwrap_or_else(|| {
            assert!(
                BASE.contains(&room.as_str()),
                "{room} is in no table: add it here and in docs/ARCHITECTURE.md"
            );
            &[]
        });
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            let known = import == room
                || BASE.contains(&import.as_str())
                || allowed.contains(&import.as_str());
            if !known {
                wrong.push(format!("src/{} imports crate::{import}", path.display()));
            }
        }
        seen.insert(room);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (room, _) in ROOMS {
        assert!(
            seen.contains(room),
            "the table names {room}, which does not exist"
        );
    }
}

#[test]
fn the_reader_of_imports_sees_all_forms() {
    let source = "
        use crate::wire::Edit;
        use crate::{actions::{Client, Token}, cache, digest::Digest};
        fn f() -> crate::gateway::Front {}
        // use crate::service; in a comment does not count
    ";
    let expected = ["actions", "cache", "digest", "gateway", "wire"];
    assert_eq!(imports(source), expected.map(String::from).into());
}

/// The room of a file: its first folder, or its own name at the top.
fn room_of(path: &Path) -> String {
    let first = Path::new(path.iter().next().unwrap());
    first.file_stem().unwrap().to_str().unwrap().into()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                rust_files(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The first names after every `crate::`, groups included.
fn imports(source: &str) -> BTreeSet<String> {
    let lines = source.lines();
    let code: Vec<_> = lines
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut found = BTreeSet::new();
    for rest in code.join("\n").split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_names(group)),
            None => found.extend(name(rest)),
        }
    }
    found
}

/// The names at the top level of `a::b, c::{d, e}}…`.
fn group_names(group: &str) -> Vec<String> {
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                names.extend(name(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn name(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}
