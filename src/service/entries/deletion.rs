//! Entries that a caller deletes.

use super::Entries;
use crate::{
    protocol::rest::{Direction, SortBy},
    service::{
        api_error::ApiError,
        audit::AuditEvent,
        rights::Rights,
        store::{Entry, Filter, Page, Usage},
    },
};

/// How many entries of a scope one request deletes: each takes some milliseconds.
const DELETED_AT_ONCE: u32 = 200;

const ALL: Page = Page {
    sort: SortBy::CreatedAt,
    direction: Direction::Asc,
    skip: 0,
    take: u32::MAX,
};

impl Entries {
    /// Deletes the entries with exactly this key where that is allowed, in `scope` if one is named.
    /// Answers what is gone.
    pub(in crate::service) async fn delete_key(
        &self,
        rights: &Rights,
        scope: Option<&str>,
        key: &str,
    ) -> Result<Vec<Entry>, ApiError> {
        let scopes = rights.deletable.named(scope);
        if scopes.is_empty() {
            return Err(ApiError::deletion_denied());
        }
        let filter = Filter {
            repository: Some(rights.repository.clone()),
            scopes: scopes.into_filter(),
            key_prefix: key.to_owned(),
            ..Filter::default()
        };
        let mut entries = self.store.list(&filter, ALL).await?;
        entries.retain(|entry| entry.name.key == key);
        if entries.is_empty() {
            return Err(ApiError::not_found());
        }
        for entry in &entries {
            self.remove(entry, rights).await?;
        }
        Ok(entries)
    }

    /// Deletes the entry `id`, if that is allowed. One that may not be read does not exist.
    pub(in crate::service) async fn delete(
        &self,
        rights: &Rights,
        id: i64,
    ) -> Result<(), ApiError> {
        let entry = self.store.by_id(id).await?;
        let own = entry.filter(|entry| entry.name.repository == rights.repository);
        let entry = own.ok_or_else(ApiError::not_found)?;
        let scope = &entry.name.scope;
        if rights.deletable.contains(scope) {
            return self.remove(&entry, rights).await;
        }
        Err(if rights.readable.contains(scope) {
            ApiError::deletion_denied()
        } else {
            ApiError::not_found()
        })
    }

    /// Deletes those of these entries that are still there. Answers what they had.
    pub(in crate::service) async fn delete_all(
        &self,
        rights: &Rights,
        ids: Vec<i64>,
    ) -> Result<Usage, ApiError> {
        let mut deleted = Usage::default();
        for id in ids {
            let entry = self.store.by_id(id).await?;
            let own = entry.filter(|entry| entry.name.repository == rights.repository);
            let Some(entry) = own else { continue };
            if !rights.deletable.contains(&entry.name.scope) {
                return Err(ApiError::deletion_denied());
            }
            self.remove(&entry, rights).await?;
            deleted = deleted.with(entry.size);
        }
        Ok(deleted)
    }

    /// Deletes at most [`DELETED_AT_ONCE`] entries of a scope. Answers what they had, and how many are left.
    pub(in crate::service) async fn delete_scope(
        &self,
        rights: &Rights,
        scope: &str,
    ) -> Result<(Usage, u64), ApiError> {
        if !rights.deletable.contains(scope) {
            return Err(ApiError::deletion_denied());
        }
        let filter = Filter {
            repository: Some(rights.repository.clone()),
            scopes: Some(vec![scope.to_owned()]),
            ..Filter::default()
        };
        let some = Page {
            take: DELETED_AT_ONCE,
            ..ALL
        };
        let mut deleted = Usage::default();
        for entry in self.store.list(&filter, some).await? {
            self.remove(&entry, rights).await?;
            deleted = deleted.with(entry.size);
        }
        Ok((deleted, self.store.count(&filter).await?))
    }

    /// The entry first: a content without an entry is garbage, the opposite would be damage.
    async fn remove(&self, entry: &Entry, rights: &Rights) -> Result<(), ApiError> {
        let Some(content) = self.store.delete(entry.id).await? else {
            return Ok(());
        };
        let deleted = AuditEvent::deleted(entry.clone(), rights.actor.clone());
        self.audit.record(deleted).await;
        self.remove_unneeded(content).await
    }
}
