//! Entries that a caller deletes.

use super::{Entries, listing::only};
use crate::{
    protocol::rest::{Direction, SortBy},
    service::{
        api_error::ApiError,
        auth::Caller,
        store::{Entry, EntryName, Filter, Page},
    },
};

impl Entries {
    /// Deletes the entries with exactly this key where the caller may delete, in `scope` if one is named.
    /// Answers what is gone.
    pub(in crate::service) async fn delete_key(
        &self,
        caller: &Caller,
        scope: Option<&str>,
        key: &str,
    ) -> Result<Vec<Entry>, ApiError> {
        let scopes = only(scope, caller.deletable());
        if scopes.is_empty() {
            return Err(ApiError::deletion_denied());
        }
        let filter = Filter {
            repository: Some(caller.repository.clone()),
            scopes: Some(scopes),
            key_prefix: key.to_owned(),
        };
        let all = Page {
            sort: SortBy::CreatedAt,
            direction: Direction::Asc,
            skip: 0,
            take: u32::MAX,
        };
        let mut entries = self.store.list(&filter, all).await?;
        entries.retain(|entry| entry.name.key == key);
        if entries.is_empty() {
            return Err(ApiError::not_found());
        }
        for entry in &entries {
            self.remove(entry.id).await?;
        }
        Ok(entries)
    }

    /// Deletes the entry `id`, if the caller may. One that it may not read does not exist for it.
    pub(in crate::service) async fn delete(
        &self,
        caller: &Caller,
        id: i64,
    ) -> Result<(), ApiError> {
        let entry = self.store.by_id(id).await?;
        let EntryName {
            repository, scope, ..
        } = entry.ok_or_else(ApiError::not_found)?.name;
        if repository != caller.repository {
            return Err(ApiError::not_found());
        }
        if caller.deletable().any(|deletable| deletable == scope) {
            return self.remove(id).await;
        }
        Err(if caller.may_read(&scope) {
            ApiError::deletion_denied()
        } else {
            ApiError::not_found()
        })
    }

    /// The entry first: a content without an entry is garbage, the opposite would be damage.
    async fn remove(&self, id: i64) -> Result<(), ApiError> {
        self.store.delete(id).await?;
        Ok(self.blobs.remove(id).await?)
    }
}
