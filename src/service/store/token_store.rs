//! Which tokens were made, and which of them are good for nothing any more.

use std::{collections::HashSet, fmt::Debug};

use async_trait::async_trait;
use jiff::Timestamp;

use super::error::{StoreError, StoreErrorKind, StoreKind};
use crate::{
    protocol::scope,
    service::grant::{Grant, Role},
};

/// What the ids of tokens begin with that are those of jobs of Gitea, and were made by it.
pub(crate) const JOB_ID_PREFIX: &str = "gitea-";

/// What is known of a token that was made; never the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its claim `jti`.
    pub id: String,
    /// What people call it; several may have one name.
    pub name: String,
    /// What it allows.
    pub grant: Grant,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// When it was revoked, if it was.
    pub revoked: Option<Timestamp>,
}

/// The same as databases have it. Times are milliseconds since 1970.
#[derive(Debug)]
pub(super) struct TokenColumns {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) repository: Option<String>,
    pub(super) role: Option<String>,
    /// As in the claim `ac`.
    pub(super) scopes: String,
    pub(super) created: i64,
    pub(super) expires: i64,
    pub(super) revoked: Option<i64>,
}

impl From<&TokenRecord> for TokenColumns {
    fn from(token: &TokenRecord) -> Self {
        let (role, scopes) = match &token.grant {
            Grant::Cache { scopes, .. } => (None, scopes.as_slice()),
            Grant::Administration { role, .. } => (Some(role.name().to_owned()), &[][..]),
        };
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            repository: token.grant.repository().map(str::to_owned),
            role,
            scopes: scope::format(scopes),
            created: token.created.as_millisecond(),
            expires: token.expires.as_millisecond(),
            revoked: token.revoked.map(Timestamp::as_millisecond),
        }
    }
}

impl TryFrom<TokenColumns> for TokenRecord {
    type Error = StoreError;

    fn try_from(columns: TokenColumns) -> Result<Self, StoreError> {
        let grant = grant(columns.role, columns.repository, &columns.scopes);
        Ok(Self {
            grant: grant.ok_or_else(unknown)?,
            id: columns.id,
            name: columns.name,
            created: time(columns.created)?,
            expires: time(columns.expires)?,
            revoked: columns.revoked.map(time).transpose()?,
        })
    }
}

fn grant(role: Option<String>, repository: Option<String>, scopes: &str) -> Option<Grant> {
    if let Some(role) = role {
        let role = Role::from_name(&role)?;
        return Some(Grant::Administration { role, repository });
    }
    Some(Grant::Cache {
        repository: repository?,
        scopes: scope::parse(scopes).ok()?,
    })
}

fn time(millisecond: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(millisecond).map_err(|_| unknown())
}

fn unknown() -> StoreError {
    let reason = "a token is recorded there that only a newer buildkit-gha understands";
    StoreError::with_source(StoreKind::Database, StoreErrorKind::Unavailable, reason)
}

/// The tokens that were made. Several processes may use them at once: the service, and the commands that make and revoke
/// them.
#[async_trait]
pub(crate) trait TokenStore: Debug + Send + Sync {
    /// Adds a token. Of one that is there it is noted whether it was revoked.
    async fn record(&self, token: &TokenRecord) -> Result<(), StoreError>;

    /// All that are known, the first that was made first.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;

    /// The one with this id, if it is known.
    async fn token(&self, id: &str) -> Result<Option<TokenRecord>, StoreError>;

    /// Revokes the token with this id and all with this name, as far as that was not done before. Answers those that
    /// are revoked by this call.
    async fn revoke(
        &self,
        name_or_id: &str,
        now: Timestamp,
    ) -> Result<Vec<TokenRecord>, StoreError>;

    /// The ids of those that were revoked and do not end before `now`.
    async fn revoked(&self, now: Timestamp) -> Result<HashSet<String>, StoreError>;

    /// Forgets those that have ended before this time. Answers how many.
    async fn forget_expired(&self, before: Timestamp) -> Result<u64, StoreError>;
}
