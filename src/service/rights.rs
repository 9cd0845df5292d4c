//! What may be listed and deleted of one repository: by a job in the scopes of its token, by an administrator in all.

use super::{
    audit::Actor,
    auth::{Administrator, Caller},
    grant::Role,
};

/// What somebody may list and delete of a repository.
#[derive(Debug, Clone)]
pub(super) struct Rights {
    /// `owner/repo`.
    pub(super) repository: String,
    /// Where it sees which entries there are.
    pub(super) readable: Scopes,
    /// Where it may delete them.
    pub(super) deletable: Scopes,
    /// Who it is, for the audit log.
    pub(super) actor: Actor,
}

impl Rights {
    /// Those of a job, in its own repository.
    pub(super) fn of_caller(caller: &Caller, actor: Actor) -> Self {
        Self {
            repository: caller.repository.clone(),
            readable: Scopes::only(caller.readable()),
            deletable: Scopes::only(caller.deletable()),
            actor,
        }
    }

    /// Those of an administrator, in the one repository that it is about, or in the one that is `asked` for.
    pub(super) fn of_administrator(
        administrator: &Administrator,
        asked: String,
        actor: Actor,
    ) -> Self {
        let deletable = if administrator.role >= Role::Prune {
            Scopes::All
        } else {
            Scopes::Only(Vec::new())
        };
        Self {
            // In its own case, if the question had another.
            repository: administrator.repository.clone().unwrap_or(asked),
            readable: Scopes::All,
            deletable,
            actor,
        }
    }
}

/// Scopes of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scopes {
    /// All that there are.
    All,
    /// These.
    Only(Vec<String>),
}

impl Scopes {
    fn only<'a>(scopes: impl Iterator<Item = &'a str>) -> Self {
        Self::Only(scopes.map(str::to_owned).collect())
    }

    /// True if there is none.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Only(scopes) if scopes.is_empty())
    }

    /// True if it is one of them.
    pub(super) fn contains(&self, scope: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(scopes) => scopes.iter().any(|known| known == scope),
        }
    }

    /// Those that are meant: all of these, or the one that is named, if it is one of them.
    pub(super) fn named(&self, name: Option<&str>) -> Self {
        match name {
            None => self.clone(),
            Some(name) => Self::only(Some(name).filter(|name| self.contains(name)).into_iter()),
        }
    }

    /// As a filter of entries has them.
    pub(super) fn into_filter(self) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Only(scopes) => Some(scopes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_chooses_one_of_those_that_there_are() {
        let some = Scopes::only(["a", "b"].into_iter());
        assert_eq!(some.named(None), some);
        assert_eq!(some.named(Some("b")), Scopes::only(["b"].into_iter()));
        assert!(some.named(Some("c")).is_empty());
        assert_eq!(Scopes::All.named(None), Scopes::All);
        let one = Scopes::All.named(Some("c"));
        assert_eq!(one.into_filter(), Some(vec!["c".to_owned()]));
        assert_eq!(Scopes::All.into_filter(), None);
    }
}
