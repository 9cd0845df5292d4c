//! All files as modules, and the file that a path leads to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{
    paths::{self, Content, Written},
    tokens,
};

/// The most renamings and re-exports that are followed.
const MAX_STEPS: usize = 16;

/// Something of the program that a file takes from another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The file that names it, from the folder of sources on.
    pub from: PathBuf,
    /// The file that defines it.
    pub to: PathBuf,
    /// Its path from the root of the crate, as it was named.
    pub named: Vec<String>,
    /// Whether it is a `pub use`, by which the file takes nothing for itself.
    pub handed_on: bool,
}

impl Import {
    /// Whether it comes from the file of the module right above.
    pub fn is_from_above(&self) -> bool {
        let module = module_of(&self.from);
        let above = module.split_last().map(|(_, above)| above);
        above == Some(&module_of(&self.to)[..])
    }
}

/// The sources of a crate, tests apart.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<PathBuf, Content>,
    /// The file of each module, and the module's names within that file.
    modules: BTreeMap<Vec<String>, (PathBuf, Vec<String>)>,
}

impl Tree {
    /// Reads a folder of sources.
    pub fn read(source: &Path) -> Self {
        let texts = rust_files(source).into_iter().map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (file.strip_prefix(source).unwrap().to_owned(), text)
        });
        Self::from_texts(texts)
    }

    /// The same of texts.
    pub fn from_texts(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let mut tree = Self::default();
        let mut of_tests = BTreeSet::new();
        for (path, text) in texts {
            let (tokens, modules) = tokens::without_tests(&tokens::tokens(&text));
            let module = module_of(&path);
            of_tests.extend(modules.into_iter().map(|name| child(&module, [name])));
            tree.files.insert(path, paths::read(&tokens));
        }
        tree.files.retain(|path, _| {
            let module = module_of(path);
            let mut above = (1..=module.len()).map(|length| &module[..length]);
            !above.any(|above| of_tests.contains(above))
        });
        for (path, content) in &tree.files {
            let module = module_of(path);
            let own = [Vec::new()];
            for inside in own.iter().chain(&content.modules) {
                let place = (path.clone(), inside.clone());
                tree.modules.insert(child(&module, inside.clone()), place);
            }
        }
        tree
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Whatever a file takes from another one.
    pub fn imports(&self) -> BTreeSet<Import> {
        let all = self.files.iter().flat_map(|(path, content)| {
            let written = content.paths.iter();
            written.filter_map(|written| self.import(path, written))
        });
        all.filter(|import| import.from != import.to).collect()
    }

    fn import(&self, from: &Path, written: &Written) -> Option<Import> {
        let module = child(&module_of(from), written.inside.clone());
        let names = self.absolute(&module, &written.names, 0)?;
        // A `use` of a module alone: what is taken from it stands where it is used.
        if self.modules.contains_key(&names) {
            return None;
        }
        let to = self.definition(&names, 0)?;
        Some(Import {
            from: from.to_owned(),
            to,
            named: names,
            handed_on: written.handed_on,
        })
    }

    /// A path from the root of the crate on; nothing if it leads out of the crate.
    fn absolute(&self, module: &[String], names: &[String], step: usize) -> Option<Vec<String>> {
        let (first, rest) = names.split_first()?;
        match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" => return Some(child(module, rest.to_vec())),
            "super" => {
                let above = &module[..module.len().checked_sub(1)?];
                if rest.first().is_some_and(|name| name == "super") {
                    return self.absolute(above, rest, step);
                }
                return Some(child(above, rest.to_vec()));
            }
            _ => {}
        }
        let below = child(module, [first.clone()]);
        if self.modules.contains_key(&below) {
            return Some(child(&below, rest.to_vec()));
        }
        // A module that a `use` has made known here.
        let renamed = self.use_of(module, first)?;
        if step == MAX_STEPS || renamed.names == names {
            return None;
        }
        let known = self.absolute(module, &renamed.names, step + 1)?;
        self.modules
            .contains_key(&known)
            .then(|| child(&known, rest.to_vec()))
    }

    /// The file that defines what a path from the root leads to.
    fn definition(&self, names: &[String], step: usize) -> Option<PathBuf> {
        let known = |length: &usize| self.modules.contains_key(&names[..*length]);
        let length = (0..=names.len()).rev().find(known)?;
        let (module, rest) = names.split_at(length);
        let (file, inside) = &self.modules[module];
        let Some(name) = rest.first().filter(|_| step < MAX_STEPS) else {
            return Some(file.clone());
        };
        let content = &self.files[file];
        let defines = content
            .items
            .iter()
            .any(|(place, item)| (place, item) == (inside, name));
        if defines {
            return Some(file.clone());
        }
        if let Some(renamed) = self.use_of(module, name) {
            let names = self.absolute(module, &renamed.names, step + 1)?;
            return self.definition(&names, step + 1);
        }
        let globs = content.paths.iter().filter(|path| {
            path.inside == *inside && path.names.last().is_some_and(|last| last == "*")
        });
        let through_glob = globs.into_iter().find_map(|glob| {
            let above = &glob.names[..glob.names.len() - 1];
            let above = self.absolute(module, above, step + 1)?;
            let (file, inside) = self.modules.get(&above)?;
            let items = &self.files[file].items;
            items
                .contains(&(inside.clone(), name.clone()))
                .then(|| file.clone())
        });
        Some(through_glob.unwrap_or_else(|| file.clone()))
    }

    /// The `use` that makes a name known in a module.
    fn use_of(&self, module: &[String], name: &str) -> Option<&Written> {
        let (file, inside) = self.modules.get(module)?;
        let paths = &self.files.get(file)?.paths;
        paths
            .iter()
            .find(|path| path.inside == *inside && path.known_as.as_deref() == Some(name))
    }
}

/// The names of the module that a file is. A program beside a library is a module of its own.
fn module_of(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let names = path.iter().map(|name| name.to_str().unwrap().to_owned());
    let mut names: Vec<_> = names.collect();
    if names == ["lib"] || names.last().is_some_and(|last| last == "mod") {
        names.pop();
    }
    names
}

fn child(module: &[String], names: impl IntoIterator<Item = String>) -> Vec<String> {
    module.iter().cloned().chain(names).collect()
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
