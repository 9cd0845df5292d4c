//! Entries whose content is not what was recorded: a disk that failed us may leave the row of a
//! commit that was answered with an error, and people tidy up by hand. Such an entry is dropped
//! where it is seen, since its key would stay taken and every build that finds it would fail.

use std::fs::File;

use super::{ApiError, Entries, Entry};

impl Entries {
    /// True if the content of an entry is all there; else the entry is dropped.
    pub(super) fn is_intact(&self, entry: &Entry) -> Result<bool, ApiError> {
        self.is_intact_with(entry, self.blobs.len(entry.id)?)
    }

    /// The same for a file that is open already: what it answers with cannot be cut short.
    pub(super) fn is_intact_in(&self, entry: &Entry, file: &File) -> Result<bool, ApiError> {
        self.is_intact_with(entry, Some(file.metadata()?.len()))
    }

    fn is_intact_with(&self, entry: &Entry, stored: Option<u64>) -> Result<bool, ApiError> {
        let intact = stored.is_some_and(|stored| stored >= entry.stored);
        if !intact {
            self.drop_damaged(entry, stored)?;
        }
        Ok(intact)
    }

    /// Drops the entry of a content file that has `stored` bytes, or is not there.
    pub(super) fn drop_damaged(&self, entry: &Entry, stored: Option<u64>) -> Result<(), ApiError> {
        // One that was deleted meanwhile is no damage.
        if !self.delete_row(entry.id)? {
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
        Ok(self.blobs.remove(entry.id)?)
    }

    /// Drops all entries whose content is not all there. Answers how many.
    pub fn drop_all_damaged(&self) -> Result<usize, ApiError> {
        let mut dropped = 0;
        for (id, stored_bytes) in self.db.lengths()? {
            if self.blobs.len(id)?.is_none_or(|len| len < stored_bytes)
                && let Some(entry) = self.db.by_id(id)?
                && !self.is_intact(&entry)?
            {
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}
