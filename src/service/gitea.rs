//! Jobs of Gitea: its runner says which token a job has before it begins, and when it has ended (ADR 60).
//!
//! What it says is kept with the service's own tokens, for all replicas. The token itself is not: its digest is the id.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::Timestamp;

use super::{
    auth::Caller,
    auth_error::AuthError,
    forgejo::{DEFAULT_SCOPE, MAX_AGE},
    grant::{Grant, TokenIdentity},
    store::{JOB_ID_PREFIX, StoreError, TokenRecord, TokenStore},
};
use crate::{
    digest::Digest,
    protocol::scope::{Permission, Scope},
    secret::Secret,
};

/// The jobs that runners have told of.
pub(super) struct GiteaJobs {
    secret: Secret,
    store: Arc<dyn TokenStore>,
}

impl GiteaJobs {
    /// Those of runners that have this secret.
    pub(super) fn new(secret: Secret, store: Arc<dyn TokenStore>) -> Self {
        Self { secret, store }
    }

    /// Whether this is what a runner shows.
    pub(super) fn is_secret(&self, shown: &str) -> bool {
        let secret = self.secret.expose().as_bytes();
        verify_slices_are_equal(secret, shown.as_bytes()).is_ok()
    }

    /// Takes a job's token from now on.
    pub(super) async fn register(
        &self,
        token: &Secret,
        repository: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let record = TokenRecord {
            id: id(token.expose()),
            name: format!("gitea:{repository}"),
            grant: Grant::Cache {
                repository,
                scopes: vec![Scope::new(DEFAULT_SCOPE, Permission::READ_WRITE)],
            },
            created: now,
            expires: now.saturating_add(MAX_AGE).unwrap_or(Timestamp::MAX),
            revoked: None,
        };
        self.store.record(&record).await
    }

    /// Takes it no more.
    pub(super) async fn revoke(&self, token: &Secret, now: Timestamp) -> Result<(), StoreError> {
        self.store.revoke(&id(token.expose()), now).await.map(drop)
    }

    /// Who has this token, if it is that of a job.
    pub(super) async fn caller(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Caller>, AuthError> {
        let found = self.store.token(&id(token)).await;
        let found = found.map_err(|_| AuthError::RevocationsUnavailable)?;
        let Some(TokenRecord {
            id,
            name,
            grant: Grant::Cache { repository, scopes },
            expires,
            revoked,
            ..
        }) = found
        else {
            return Ok(None);
        };
        let token = TokenIdentity { id, name };
        if revoked.is_some() {
            return Err(AuthError::Revoked(token));
        }
        if expires <= now {
            return Err(AuthError::Expired(expires));
        }
        Ok(Some(Caller {
            repository,
            scopes,
            expires,
            token: Some(token),
        }))
    }
}

fn id(token: &str) -> String {
    format!("{JOB_ID_PREFIX}{}", Digest::sha256(token))
}
