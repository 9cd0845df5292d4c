//! Which token it is, and what it allows: a builder's in some scopes of a repository, an administrator's by a role.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::protocol::scope::Scope;

/// Which of the service's own tokens it is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenIdentity {
    /// Its claim `jti`.
    pub(super) id: String,
    /// What the operator calls it.
    pub(super) name: String,
}

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Reading and writing the cache of one repository.
    Cache {
        /// `owner/repo`.
        repository: String,
        /// The scopes, and what may be done in each.
        scopes: Vec<Scope>,
    },
    /// Looking after the service.
    Administration {
        /// What may be done.
        role: Role,
        /// `owner/repo`; `None` for all.
        repository: Option<String>,
    },
}

impl Grant {
    /// What it is about, where there is one repository.
    pub fn repository(&self) -> Option<&str> {
        match self {
            Self::Cache { repository, .. } => Some(repository),
            Self::Administration { repository, .. } => repository.as_deref(),
        }
    }

    /// A name for a token that was given none.
    pub(super) fn name(&self, now: Timestamp) -> String {
        let (what, now) = (self.repository(), now.as_second());
        let now = Timestamp::from_second(now).unwrap_or_default();
        match self {
            Self::Cache { repository, .. } => format!("{repository}@{now}"),
            Self::Administration { role, .. } => {
                format!("{role}:{}@{now}", what.unwrap_or("all"))
            }
        }
    }
}

/// In a few words.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache { repository, scopes } => {
                f.write_str(repository)?;
                scopes.iter().try_for_each(|scope| write!(f, " {scope}"))
            }
            Self::Administration { role, repository } => {
                let what = repository.as_deref().unwrap_or("all repositories");
                write!(f, "{what} ({role})")
            }
        }
    }
}

/// What an administrator may do. Each may do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See which entries there are, what they take, and what indexes name; not what is in layers.
    Read,
    /// Delete entries, too.
    Prune,
    /// All that can be done over the network.
    Admin,
}

impl Role {
    /// Its name, as in `--role`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Prune => "prune",
            Self::Admin => "admin",
        }
    }

    /// The role with this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Read, Self::Prune, Self::Admin];
        all.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::scope::Permission;

    #[test]
    fn roles_are_found_by_their_names() {
        for role in [Role::Read, Role::Prune, Role::Admin] {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        assert_eq!(Role::from_name("owner"), None);
    }

    #[test]
    fn a_grant_is_told_in_a_few_words() {
        let cache = Grant::Cache {
            repository: "o/r".to_owned(),
            scopes: vec![
                Scope::new("main", Permission::READ_WRITE_DELETE),
                Scope::new("next", Permission::READ),
            ],
        };
        assert_eq!(cache.to_string(), "o/r main=rwd next=r");
        let administration = Grant::Administration {
            role: Role::Prune,
            repository: None,
        };
        assert_eq!(administration.to_string(), "all repositories (prune)");
        assert_eq!(
            administration.name(Timestamp::UNIX_EPOCH),
            "prune:all@1970-01-01T00:00:00Z"
        );
    }
}
