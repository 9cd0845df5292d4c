//! Holds the layers of `src/gateway`: which of its folders may know which, and what else they may know.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A folder of the gateway, or a file beside them.
struct Layer {
    name: &'static str,
    /// What it may import of the gateway besides itself.
    gateway: &'static [&'static str],
    /// What it may import of the crate besides the base below.
    modules: &'static [&'static str],
}

/// What every layer may import. `proto` and `wire` are not among it: they are BuildKit's messages.
const BASE: [&str; 6] = [
    "digest",
    "http1",
    "lifecycle",
    "protocol",
    "secret",
    "telemetry",
];

const LAYERS: [Layer; 7] = [
    Layer {
        name: "interceptor",
        gateway: &[],
        modules: &["content"],
    },
    Layer {
        name: "transport",
        gateway: &["interceptor"],
        modules: &["config"],
    },
    Layer {
        name: "session",
        gateway: &["interceptor", "transport"],
        modules: &["content"],
    },
    Layer {
        name: "endpoint",
        gateway: &[],
        modules: &["config"],
    },
    Layer {
        name: "build",
        gateway: &["endpoint", "interceptor"],
        modules: &["cache", "config", "content", "proto", "wire"],
    },
    Layer {
        name: "supervise",
        gateway: &["transport"],
        modules: &["config", "wire"],
    },
    Layer {
        name: "dispatch",
        gateway: &["interceptor", "session", "transport"],
        modules: &[],
    },
];

#[test]
fn no_layer_imports_what_it_must_not_know() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&source) {
        let path = module_path(file.strip_prefix(&source).unwrap());
        // The root puts the layers together; tests may do so, too.
        let Some(name) = path.first() else { continue };
        if path.iter().any(|part| part == "tests") {
            continue;
        }
        let layer = LAYERS.iter().find(|layer| layer.name == name);
        let layer = layer.unwrap_or_else(|| panic!("{name} is no known layer: add it here"));
        seen.insert(layer.name);
        for import in imports(&code(&fs::read_to_string(&file).unwrap()), &path) {
            if !layer.allows(&import) {
                let import = import.join("::");
                wrong.push(format!("{} imports crate::{import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.len(), LAYERS.len(), "a layer does not exist: {seen:?}");
}

#[test]
fn imports_are_seen_in_all_their_forms() {
    let source = "
        use super::{pump, super::session::{self, tunnel}};
        use crate::{gateway::build::Builds, proto::control::Vertex};
        fn f() -> super::super::supervise::Child {}
        // use crate::service; in a comment does not count
        #[cfg(test)]
        mod tests { use crate::cache::Cache; }
    ";
    let path = ["transport".to_owned(), "proxy".to_owned()];
    let found: Vec<_> = (imports(&code(source), &path).iter())
        .map(|import| import.join("::"))
        .collect();
    let expected = [
        "gateway::build",
        "gateway::session",
        "gateway::supervise",
        "gateway::transport",
        "proto::control",
    ];
    assert_eq!(found, expected);
}

impl Layer {
    fn allows(&self, import: &[String]) -> bool {
        let [module, rest @ ..] = import else {
            return true;
        };
        if module == "gateway" {
            let layer = rest.first().map_or("", String::as_str);
            return layer == self.name || self.gateway.contains(&layer);
        }
        BASE.contains(&module.as_str()) || self.modules.contains(&module.as_str())
    }
}

/// The path of a file's module below `crate::gateway`.
fn module_path(file: &Path) -> Vec<String> {
    let file = file.with_extension("");
    let parts = file.iter().map(|part| part.to_str().unwrap().to_owned());
    parts.filter(|part| part != "mod").collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The source without comments, and without the tests at its end.
fn code(source: &str) -> String {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let lines = source.lines();
    let code: Vec<_> = lines
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    code.join("\n")
}

/// The first two names after `crate::` of everything that the module at `path` names by
/// `crate::…` or `super::…`, groups included.
fn imports(code: &str, path: &[String]) -> BTreeSet<Vec<String>> {
    let module: Vec<String> = ["gateway".to_owned()]
        .into_iter()
        .chain(path.iter().cloned())
        .collect();
    let mut found = BTreeSet::new();
    let mut rest = code;
    while let Some((at, base)) = next_root(rest) {
        rest = &rest[at..];
        let mut paths = Vec::new();
        let used = read_tree(rest, &[], &mut paths);
        rest = &rest[used.max(1)..];
        for path in paths {
            let supers = path.iter().take_while(|name| *name == "super").count();
            let absolute: Vec<String> = if base == "crate" {
                path[1..].to_vec()
            } else {
                let parent = &module[..module.len().saturating_sub(supers)];
                [parent, &path[supers..]].concat()
            };
            found.insert(absolute.into_iter().take(2).collect());
        }
    }
    found
}

/// Where the next path begins that starts at `crate` or `super`.
fn next_root(code: &str) -> Option<(usize, &'static str)> {
    ["crate", "super"]
        .into_iter()
        .filter_map(|root| Some((code.find(&format!("{root}::"))?, root)))
        .min()
}

/// Reads `a::b` or `a::{b, c::{d}}` at the start of `code`; the answer is how much of it that was.
fn read_tree(code: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = 0;
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        if code[at..].starts_with('{') {
            return at + read_group(&code[at..], &path, paths);
        }
        let name: String = (code[at..].chars())
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        at += name.len();
        if !name.is_empty() && name != "self" {
            path.push(name);
        }
        match code[at..].strip_prefix("::") {
            Some(_) => at += 2,
            None => break,
        }
    }
    paths.push(path);
    at
}

fn read_group(code: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut at = 1;
    while at < code.len() {
        match code.as_bytes()[at] {
            b'}' => return at + 1,
            b',' => at += 1,
            c if c.is_ascii_whitespace() => at += 1,
            _ => at += read_tree(&code[at..], prefix, paths).max(1),
        }
    }
    at
}
