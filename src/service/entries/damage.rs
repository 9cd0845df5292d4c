//! Entries whose content is not what was recorded: a disk that failed us may leave the row of a
//! commit that was answered with an error, and people tidy up by hand. Such an entry is dropped
//! where it is seen, since its key would stay taken and every build that finds it would fail.

use super::Entries;
use crate::service::{
    api_error::ApiError,
    store::{Committed, Entry, StoreError, StoreErrorKind},
};

impl Entries {
    /// True if the content of an entry is all there; else the entry is dropped.
    pub(super) async fn is_intact(&self, entry: &Entry) -> Result<bool, ApiError> {
        let checked = self.blobs.check(entry.id, entry.stored).await;
        Ok(self.found_intact(entry, checked).await?.is_some())
    }

    /// What was found of the content of an entry, unless it is not all there: then the entry is dropped.
    pub(super) async fn found_intact<T>(
        &self,
        entry: &Entry,
        found: Result<T, StoreError>,
    ) -> Result<Option<T>, ApiError> {
        let stored = match found {
            Ok(found) => return Ok(Some(found)),
            Err(error) => match error.kind() {
                StoreErrorKind::NotFound => None,
                StoreErrorKind::Truncated { stored } => Some(stored),
                _ => return Err(error.into()),
            },
        };
        self.drop_damaged(entry, stored).await?;
        Ok(None)
    }

    /// Drops the entry of a content of which `stored` bytes are there, or nothing.
    async fn drop_damaged(&self, entry: &Entry, stored: Option<u64>) -> Result<(), ApiError> {
        // One that was deleted meanwhile is no damage.
        if !self.store.delete(entry.id).await? {
            return Ok(());
        }
        let name = &entry.name;
        let (repository, scope, key) = (&*name.repository, &*name.scope, &*name.key);
        let recorded = entry.stored;
        match stored {
            None => tracing::warn!(
                repository,
                scope,
                key,
                recorded,
                "an entry is dropped: its content is missing"
            ),
            Some(stored) => tracing::warn!(
                repository,
                scope,
                key,
                recorded,
                stored,
                "an entry is dropped: its content is shorter than recorded"
            ),
        }
        Ok(self.blobs.remove(entry.id).await?)
    }

    /// Drops all entries whose content is not all there. Answers how many.
    pub(crate) async fn drop_all_damaged(&self) -> Result<usize, ApiError> {
        let (mut dropped, mut last) = (0, i64::MIN);
        loop {
            let entries = self.store.committed(last).await?;
            let Some(end) = entries.last() else {
                return Ok(dropped);
            };
            last = end.position;
            for Committed { id, stored, .. } in entries {
                if self.blobs.check(id, stored).await.is_err()
                    && let Some(entry) = self.store.by_id(id).await?
                    && !self.is_intact(&entry).await?
                {
                    dropped += 1;
                }
            }
        }
    }
}
