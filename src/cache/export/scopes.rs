//! What a token means for an export: the indexes that it names, and what it can look up.

use crate::{
    actions::Token,
    protocol::{key::IndexKey, scope::Scope},
};

/// The keys of the indexes of one cache.
#[derive(Clone)]
pub(in crate::cache) struct IndexKeys {
    /// The index that the export will write.
    pub own: IndexKey,
    /// The indexes of this cache in the other scopes that the token reads.
    pub other_scopes: Vec<IndexKey>,
}

impl IndexKeys {
    /// The keys for the cache `cache_scope` (the attribute `scope=`); `None` if the token may write
    /// nowhere.
    pub fn new(cache_scope: &str, token: &Token, signed: bool) -> Option<Self> {
        // The service writes to the first writable scope; stock BuildKit names the index after
        // the last, and its importers look for that name.
        let key = |scope: &Scope| IndexKey::new(cache_scope, &scope.name, signed);
        let own = key(token.last_writable()?);
        let other_scopes = token.readable().map(key).filter(|other| *other != own);
        Some(Self {
            other_scopes: other_scopes.collect(),
            own,
        })
    }
}

/// True if the token reads the scope that it writes to. If not, what is there cannot be looked up.
pub(super) fn reads_own_scope(token: &Token) -> bool {
    let own = token.first_writable();
    own.is_some_and(|scope| scope.permission.readable())
}

/// True if the token reads a scope that it does not write to, as that of a pull request does: there a
/// reservation succeeds although another scope has the layer.
pub(super) fn reads_other_scopes(token: &Token) -> bool {
    let own = token.first_writable().map(|scope| &scope.name);
    token.readable().any(|scope| Some(&scope.name) != own)
}
