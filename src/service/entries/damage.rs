//! Entries whose content is not what was recorded: a disk that failed us may leave the row of a
//! commit that was answered with an error, and people tidy up by hand. Such an entry is dropped
//! where it is seen, since its key would stay taken and every build that finds it would fail. All that share the
//! content go with it.

use super::Entries;
use crate::service::{
    api_error::ApiError,
    store::{Committed, Entry, StoreError, StoreErrorKind},
};

impl Entries {
    /// True if the content of an entry is all there; else the entry is dropped.
    pub(super) async fn is_intact(&self, entry: &Entry) -> Result<bool, ApiError> {
        let checked = self.blobs.check(entry.content, entry.stored).await;
        Ok(self.found_intact(entry, checked).await?.is_some())
    }

    /// What was found of the content of an entry, unless it is not all there: then all entries that have it are dropped.
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
        // One that was deleted meanwhile is no damage.
        for damaged in self.store.delete_content(entry.content).await? {
            log_damage(&damaged, stored);
        }
        self.remove_unneeded(entry.content).await?;
        Ok(None)
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
            for Committed {
                id,
                content,
                stored,
                ..
            } in entries
            {
                if self.blobs.check(content, stored).await.is_err()
                    && let Some(entry) = self.store.by_id(id).await?
                    && !self.is_intact(&entry).await?
                {
                    dropped += 1;
                }
            }
        }
    }
}

/// Says that an entry is dropped of whose content `stored` bytes are there, or nothing.
fn log_damage(entry: &Entry, stored: Option<u64>) {
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
}
