//! The paths that a file writes, and the names that it defines.

use super::tokens::Token;

/// A path as it is written, in the module `inside` the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Modules with a body that stand around it in the file.
    pub inside: Vec<String>,
    /// Its names; the last may be `*`.
    pub names: Vec<String>,
    /// The name by which a `use` makes it known here.
    pub known_as: Option<String>,
    /// Whether a `pub use` hands it on.
    pub handed_on: bool,
}

/// What stands in a file.
#[derive(Debug, Default)]
pub struct Content {
    /// All paths with more than one name, and all that a `use` names.
    pub paths: Vec<Written>,
    /// Modules with a body, by their names from the file on.
    pub modules: Vec<Vec<String>>,
    /// Items, by the module that they stand in and their names.
    pub items: Vec<(Vec<String>, String)>,
}

/// What is followed by the name of an item.
const ITEMS: [&str; 9] = [
    "fn",
    "struct",
    "enum",
    "trait",
    "type",
    "const",
    "static",
    "union",
    "macro_rules",
];

/// Reads a file.
pub fn read(all: &[Token]) -> Content {
    let mut content = Content::default();
    // Names of modules around, and the depth of braces at which each of them ends.
    let (mut inside, mut ends) = (Vec::new(), Vec::new());
    let (mut at, mut depth) = (0, 0_usize);
    while at < all.len() {
        match &all[at] {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => {
                depth -= 1;
                if ends.last() == Some(&depth) {
                    ends.pop();
                    inside.pop();
                }
            }
            Token::Name(word) if word == "mod" => {
                if let (Some(Token::Name(name)), Some(Token::Sign('{'))) =
                    (all.get(at + 1), all.get(at + 2))
                {
                    inside.push(name.clone());
                    ends.push(depth);
                    content.modules.push(inside.clone());
                    depth += 1;
                    at += 2;
                }
            }
            Token::Name(word) if word == "use" => {
                let handed_on = is_public(&all[..at]);
                at += 1;
                let mut found = Vec::new();
                at = tree(all, at, &[], &mut found);
                content
                    .paths
                    .extend(found.into_iter().map(|(names, alias)| Written {
                        inside: inside.clone(),
                        known_as: alias,
                        names,
                        handed_on,
                    }));
                continue;
            }
            Token::Name(word) => {
                if ITEMS.contains(&word.as_str()) {
                    let name = all[at + 1..].iter().find_map(Token::name);
                    let name = name.unwrap_or_default().to_owned();
                    content.items.push((inside.clone(), name));
                }
                let begins = at == 0 || all[at - 1] != Token::Colons;
                if begins && all.get(at + 1) == Some(&Token::Colons) {
                    content.paths.push(Written {
                        inside: inside.clone(),
                        names: path(all, at),
                        known_as: None,
                        handed_on: false,
                    });
                }
            }
            _ => {}
        }
        at += 1;
    }
    content
}

/// Whether what follows is `pub` or `pub(…)`.
fn is_public(before: &[Token]) -> bool {
    match before.last() {
        Some(Token::Sign(')')) => {
            let open = before.iter().rposition(|token| *token == Token::Sign('('));
            open.is_some_and(|open| is_public(&before[..open]))
        }
        Some(token) => token.is("pub"),
        None => false,
    }
}

/// The names of the path that begins here.
fn path(all: &[Token], mut at: usize) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(name) = all.get(at).and_then(Token::name) {
        names.push(name.to_owned());
        if all.get(at + 1) != Some(&Token::Colons) {
            break;
        }
        at += 2;
    }
    names
}

type Named = (Vec<String>, Option<String>);

/// Reads a tree of a `use` behind `before`; the answer is the place behind it.
fn tree(all: &[Token], mut at: usize, before: &[String], found: &mut Vec<Named>) -> usize {
    let mut names = before.to_vec();
    loop {
        match all.get(at) {
            Some(Token::Colons) => at += 1,
            Some(Token::Sign('{')) => {
                at += 1;
                while all.get(at).is_some_and(|token| *token != Token::Sign('}')) {
                    at = tree(all, at, &names, found);
                    at += usize::from(all.get(at) == Some(&Token::Sign(',')));
                }
                return at + 1;
            }
            Some(Token::Sign('*')) => {
                names.push("*".to_owned());
                found.push((names, None));
                return at + 1;
            }
            Some(Token::Name(word)) if word == "as" => {
                let alias = all.get(at + 1).and_then(Token::name).map(str::to_owned);
                found.push((names, alias));
                return at + 2;
            }
            Some(Token::Name(word)) => {
                // `a::{self}` names `a`.
                if word != "self" || names.is_empty() {
                    names.push(word.clone());
                }
                at += 1;
                let goes_on = matches!(all.get(at), Some(Token::Colons))
                    || all.get(at).is_some_and(|token| token.is("as"));
                if !goes_on {
                    let alias = names.last().cloned();
                    found.push((names, alias));
                    return at;
                }
            }
            _ => return at + 1,
        }
    }
}
