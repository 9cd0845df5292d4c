//! Who calls: what a verified token says.

use jiff::Timestamp;

use super::{
    api_error::ApiError,
    auth_error::AuthError,
    grant::{Role, TokenIdentity},
    store::EntryName,
};
use crate::protocol::scope::Scope;

/// How far the clock of whoever minted a token may be ahead of ours.
pub(super) const CLOCK_LEEWAY_SECS: i64 = 60;

/// Who calls, as its verified token says.
#[derive(Debug, Clone)]
pub(super) enum Principal {
    /// A job, or a builder.
    Caller(Caller),
    /// Somebody who looks after the service.
    Administrator(Administrator),
}

impl Principal {
    /// Which token it is; `None` for one of an issuer, or of a version that gave tokens no id.
    pub(super) fn token(&self) -> Option<&TokenIdentity> {
        match self {
            Self::Caller(caller) => caller.token.as_ref(),
            Self::Administrator(administrator) => Some(&administrator.token),
        }
    }

    /// The one repository that it is about, if it is not about all.
    pub(super) fn repository(&self) -> Option<&str> {
        match self {
            Self::Caller(caller) => Some(&caller.repository),
            Self::Administrator(administrator) => administrator.repository.as_deref(),
        }
    }

    /// Refuses a repository that it is not about; as on GitHub, it learns nothing of it.
    pub(super) fn check_repository(&self, repository: &str) -> Result<(), ApiError> {
        match self.repository() {
            Some(own) if !own.eq_ignore_ascii_case(repository) => Err(ApiError::not_found()),
            // Not every database takes it in a text.
            _ if repository.contains('\0') => Err(ApiError::not_found()),
            _ => Ok(()),
        }
    }
}

/// A job or a builder: it reads and writes the entries of one repository.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// `owner/repo`: entries of other repositories do not exist for this caller.
    pub(super) repository: String,
    /// What it may read and write, in order.
    pub(super) scopes: Vec<Scope>,
    /// When its token ends. What it is given ends no later.
    pub(super) expires: Timestamp,
    /// Which token it has, if that has an id.
    pub(super) token: Option<TokenIdentity>,
}

impl Caller {
    /// The scopes whose entries it may read, in the token's order.
    pub(super) fn readable(&self) -> impl Iterator<Item = &str> {
        let readable = self.scopes.iter().filter(|s| s.permission.readable());
        readable.map(|scope| scope.name.as_str())
    }

    /// Whether it may read this entry.
    pub(super) fn may_read(&self, name: &EntryName) -> bool {
        self.repository == name.repository && self.readable().any(|scope| scope == name.scope)
    }

    /// The scopes whose entries it may delete.
    pub(super) fn deletable(&self) -> impl Iterator<Item = &str> {
        let deletable = self.scopes.iter().filter(|s| s.permission.deletable());
        deletable.map(|scope| scope.name.as_str())
    }

    /// The one scope in which it creates entries: the first that is writable.
    pub(super) fn write_scope(&self) -> Option<&str> {
        let writable = self.scopes.iter().find(|s| s.permission.writable());
        writable.map(|scope| scope.name.as_str())
    }
}

/// Somebody who looks after the service: it sees which entries there are, and opens none.
#[derive(Debug, Clone)]
pub(super) struct Administrator {
    /// Which token it has.
    pub(super) token: TokenIdentity,
    /// What it may do.
    pub(super) role: Role,
    /// The repository that it is about; `None` for all.
    pub(super) repository: Option<String>,
}

impl Administrator {
    /// Refuses what needs more than its role.
    pub(super) fn check_role(&self, needed: Role) -> Result<(), ApiError> {
        if self.role < needed {
            return Err(ApiError::role_needed(self.role, needed));
        }
        Ok(())
    }
}

/// Refuses a token whose time is not now.
pub(super) fn check_times(
    starts: Option<Timestamp>,
    expires: Timestamp,
    now: Timestamp,
) -> Result<(), AuthError> {
    if expires <= now {
        return Err(AuthError::Expired(expires));
    }
    let latest = now.as_second().saturating_add(CLOCK_LEEWAY_SECS);
    match starts {
        Some(starts) if starts.as_second() > latest => Err(AuthError::NotYet(starts)),
        _ => Ok(()),
    }
}

/// The token in the value of an `Authorization` header. GitHub's REST clients say `Bearer` or `token`; the
/// scheme's case does not matter.
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let known = ["bearer", "token"];
    known
        .iter()
        .any(|name| scheme.eq_ignore_ascii_case(name))
        .then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_githubs_clients_write_it() {
        for (header, token) in [
            ("Bearer abc", Some("abc")),
            ("token abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
        ] {
            assert_eq!(bearer(header), token, "{header}");
        }
    }

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        let administrator = |role| Administrator {
            token: TokenIdentity {
                id: "1".to_owned(),
                name: "n".to_owned(),
            },
            role,
            repository: None,
        };
        administrator(Role::Admin).check_role(Role::Prune).unwrap();
        administrator(Role::Prune).check_role(Role::Prune).unwrap();
        let refused = administrator(Role::Read).check_role(Role::Prune);
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("--role prune"), "{words}");
    }
}
