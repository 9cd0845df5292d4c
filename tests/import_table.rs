//! Holds the tables of `docs/ARCHITECTURE.md`: which module may import which, and who reads the
//! environment. The tables are read from the page itself.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

mod source;

use source::{Import, Tree};

/// The only file that may read variables of the environment by name or as a whole. The flags of
/// subcommands name theirs to clap, in `cli`.
const READER: &str = "config/env.rs";

/// Calls that read the environment.
const READS: [&str; 4] = ["env::var(", "env::var_os(", "env::vars(", "env::vars_os("];

/// The modules of the base that know BuildKit's messages: a folder of `gateway` imports them only where its
/// row says so.
const MESSAGES: [&str; 2] = ["proto", "wire"];

/// A table: what each module may import.
type Table = BTreeMap<String, BTreeSet<String>>;

/// The modules of the page.
struct Page {
    /// What every module may import; these import only one another.
    base: BTreeSet<String>,
    modules: Table,
    /// The folders of `gateway`, and what each may import of `gateway` and of other modules.
    parts: Table,
}

impl Page {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
        Self::parse(&fs::read_to_string(path).unwrap())
    }

    fn parse(page: &str) -> Self {
        Self {
            base: table(page, "base module", "src/").into_keys().collect(),
            modules: table(page, "module", "src/"),
            parts: table(page, "part of `gateway`", "src/gateway/"),
        }
    }

    /// Why an import is not allowed.
    fn breaks(&self, import: &Import) -> Option<String> {
        let (from, to) = (module_of(&import.from), &import.named[0]);
        let of_program = ["lib", "main"].contains(&from.as_str());
        let allowed = from == *to
            || of_program
            || self.base.contains(to)
            || self.modules.get(&from).is_some_and(|row| row.contains(to));
        if allowed {
            return self.part_breaks(import);
        }
        Some(format!("src/{} imports crate::{to}", import.from.display()))
    }

    /// Why a file in a folder of `gateway` may not import it, whatever `gateway` may.
    fn part_breaks(&self, import: &Import) -> Option<String> {
        let from = part_of(&import.from)?;
        let row = self.parts.get(from)?;
        let file = import.from.display();
        let module = import.named[0].as_str();
        if module == "gateway" {
            let to = import.to.iter().nth(1)?.to_str().unwrap();
            let to = to.trim_end_matches(".rs");
            let allowed = from == to || row.contains(to);
            return (!allowed).then(|| format!("src/{file} imports {to} of gateway"));
        }
        let free = self.base.contains(module) && !MESSAGES.contains(&module);
        (!free && !row.contains(module))
            .then(|| format!("src/{file} imports crate::{module}, and its folder's row does not"))
    }
}

/// The rows of the table with this in its head: the module in the first column without `prefix`, and the
/// names in the last one.
fn table(page: &str, head: &str, prefix: &str) -> Table {
    let head = format!("| {head} |");
    let rows = page.lines().skip_while(|line| !line.starts_with(&head));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let table: Table = rows
        .map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split('|').collect();
            let module = names(cells[0]).pop_first().unwrap();
            let module = module.strip_prefix(prefix).unwrap().trim_end_matches(".rs");
            (module.to_owned(), names(cells[cells.len() - 1]))
        })
        .collect();
    assert!(!table.is_empty(), "no table with the head {head}");
    table
}

/// What stands between backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The module of a file: its first folder, or its own name at the top.
fn module_of(path: &Path) -> String {
    let first = Path::new(path.iter().next().unwrap());
    first.file_stem().unwrap().to_str().unwrap().into()
}

/// The folder of `gateway` that a file stands in.
fn part_of(path: &Path) -> Option<&str> {
    let names: Vec<_> = path.iter().map(|name| name.to_str().unwrap()).collect();
    match names[..] {
        ["gateway", part, _, ..] => Some(part),
        _ => None,
    }
}

fn sources() -> Tree {
    Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn no_module_imports_what_it_must_not_know() {
    let page = Page::read();
    let imports = sources().imports();
    let broken: BTreeSet<_> = imports.iter().filter_map(|i| page.breaks(i)).collect();
    let broken: Vec<_> = broken.into_iter().collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn each_module_has_a_row_and_each_row_a_module() {
    let page = Page::read();
    let tree = sources();
    let modules: BTreeSet<_> = tree.files().map(module_of).collect();
    let modules = modules
        .into_iter()
        .filter(|name| !["lib", "main"].contains(&name.as_str()));
    let rows = page.modules.keys().chain(&page.base).cloned();
    assert_eq!(modules.collect::<BTreeSet<_>>(), rows.collect());
    let parts: BTreeSet<_> = tree.files().filter_map(part_of).collect();
    let rows = page.parts.keys().map(String::as_str);
    assert_eq!(
        parts,
        rows.collect(),
        "folders of src/gateway, and their rows"
    );
}

#[test]
fn the_environment_is_read_in_one_place() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let reads = |file: &&Path| {
        let text = fs::read_to_string(source.join(file)).unwrap();
        READS.iter().any(|call| text.contains(call))
    };
    let tree = sources();
    let readers: Vec<_> = tree.files().filter(reads).collect();
    assert_eq!(readers, [Path::new(READER)]);
}

#[test]
fn what_the_tables_do_not_allow_is_found() {
    let page = Page::parse(
        "| base module | what it is |\n|---|---|\n| `src/wire` | bytes |\n\n\
         | module | what it is | imports |\n|---|---|---|\n\
         | `src/cache` | jobs | – |\n| `src/gateway` | calls, and `serve` | `cache` |\n\n\
         | part of `gateway` | what it is | imports |\n|---|---|---|\n\
         | `src/gateway/session` | streams | `pump`, `wire` |\n| `src/gateway/pump` | bytes | – |\n",
    );
    let text = |name: &str, text: &str| (name.into(), text.to_owned());
    let tree = Tree::from_texts([
        text("lib.rs", "mod cache; mod gateway; mod wire;"),
        text(
            "cache/mod.rs",
            "use crate::{wire::Edit, gateway::{self, Front}};",
        ),
        text(
            "gateway/mod.rs",
            "use crate::cache; pub use pump::Pump; fn f() -> cache::Job {}",
        ),
        text(
            "gateway/session/mod.rs",
            "use super::{Pump, frame::Frame}; use crate::wire::Edit;",
        ),
        text(
            "gateway/pump/mod.rs",
            "pub struct Pump; fn f(s: super::session::Session) -> crate::wire::Edit {}",
        ),
        text(
            "gateway/frame.rs",
            "use super::session::Session; // crate::service::Server",
        ),
        text("wire.rs", "fn f() -> crate::cache::Job {}"),
    ]);
    let imports = tree.imports();
    let broken: Vec<_> = imports.iter().filter_map(|i| page.breaks(i)).collect();
    let expected = [
        "src/cache/mod.rs imports crate::gateway",
        "src/gateway/pump/mod.rs imports session of gateway",
        "src/gateway/pump/mod.rs imports crate::wire, and its folder's row does not",
        "src/gateway/session/mod.rs imports frame of gateway",
        "src/wire.rs imports crate::cache",
    ];
    assert_eq!(broken, expected);
}
