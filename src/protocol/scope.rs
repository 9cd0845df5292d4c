//! Access scopes of a runtime token: the claim `ac`, a JSON text inside the JWT.
//!
//! Example: `"ac": "[{\"Scope\":\"refs/heads/main\",\"Permission\":3}]"`; permission 1 is read,
//! 2 is write. Reads go through all scopes in order, writes to the first that is writable. The
//! embedded service knows a third, 4, for deletions; clients look at single bits and do not mind it.

use std::fmt;

use serde::{Deserialize, Serialize};

const READ: u8 = 1;
const WRITE: u8 = 2;
const DELETE: u8 = 4;

/// Most scopes that a token may carry here; GitHub's have one to three.
pub const MAX_SCOPES: usize = 64;

/// One GitHub scope (a ref) and what the token may do in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The ref, e.g. `refs/heads/main` or `refs/pull/7/merge`.
    #[serde(rename = "Scope")]
    pub name: String,
    /// What the token may do there.
    #[serde(rename = "Permission")]
    pub permission: Permission,
}

/// A set of permissions as GitHub writes it: bit 0 read, bit 1 write; and bit 2, delete, which is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permission(u8);

impl Permission {
    /// Read only.
    pub const READ: Self = Self(READ);
    /// Read and write.
    pub const READ_WRITE: Self = Self(READ | WRITE);
    /// Write only.
    pub const WRITE: Self = Self(WRITE);

    /// Read, write and delete.
    pub const READ_WRITE_DELETE: Self = Self(READ | WRITE | DELETE);

    /// True if entries of the scope may be read.
    pub fn readable(self) -> bool {
        self.0 & READ != 0
    }

    /// True if entries may be created in the scope.
    pub fn writable(self) -> bool {
        self.0 & WRITE != 0
    }

    /// True if entries of the scope may be deleted: who may not write it may not empty it either.
    pub fn deletable(self) -> bool {
        self.writable() && self.0 & DELETE != 0
    }

    /// What GitHub knows of it: reading and writing.
    #[must_use]
    pub fn without_deletion(self) -> Self {
        Self(self.0 & (READ | WRITE))
    }
}

impl Scope {
    /// A scope with a permission.
    pub fn new(name: impl Into<String>, permission: Permission) -> Self {
        Self {
            name: name.into(),
            permission,
        }
    }
}

/// As the command line names it: `refs/heads/main=rw`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let permission = self.permission;
        let letters = [
            (permission.readable(), 'r'),
            (permission.writable(), 'w'),
            (permission.deletable(), 'd'),
        ];
        let letters = letters.into_iter().filter(|(may, _)| *may);
        let letters: String = letters.map(|(_, letter)| letter).collect();
        write!(f, "{}={letters}", self.name)
    }
}

/// Reads the claim's text.
pub fn parse(ac: &str) -> Result<Vec<Scope>, InvalidScopes> {
    let scopes: Vec<Scope> = serde_json::from_str(ac).map_err(InvalidScopes::Json)?;
    if scopes.len() > MAX_SCOPES {
        return Err(InvalidScopes::TooMany(scopes.len()));
    }
    Ok(scopes)
}

/// Writes the claim's text.
pub fn format(scopes: &[Scope]) -> String {
    serde_json::to_string(scopes).expect("scopes are plain strings and numbers")
}

/// Why a claim `ac` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidScopes {
    /// Not the JSON that the claim must hold.
    #[error("the token's claim \"ac\" is not a JSON list of scopes: {0}")]
    Json(serde_json::Error),
    /// More scopes than any real token has.
    #[error("the token's claim \"ac\" has {0} scopes, more than {MAX_SCOPES}")]
    TooMany(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn github_form_round_trips() {
        let text = r#"[{"Scope":"refs/pull/7/merge","Permission":3},{"Scope":"refs/heads/main","Permission":1}]"#;
        let scopes = parse(text).unwrap();
        assert_eq!(scopes[0].permission, Permission::READ_WRITE);
        assert!(!scopes[1].permission.writable());
        assert_eq!(format(&scopes), text);
    }

    #[test]
    fn other_forms_are_refused() {
        assert!(parse("{}").is_err());
        let many = vec![Scope::new("x", Permission::READ); MAX_SCOPES + 1];
        assert!(parse(&format(&many)).is_err());
    }
}
