//! The keys of uploads in progress.
//!
//! They live in memory only: bytes that were not yet synced cannot be trusted after a crash, so an upload
//! that outlived its process would be a trap. A restart frees its key instead.

use std::collections::HashMap;

use crate::service::store::entry_store::EntryName;

/// Names by id and ids by name.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    by_name: HashMap<EntryName, i64>,
    by_id: HashMap<i64, EntryName>,
}

impl Reservations {
    /// The upload that has the name.
    pub(super) fn by_name(&self, name: &EntryName) -> Option<i64> {
        self.by_name.get(name).copied()
    }

    /// Whether the upload `id` has a name.
    pub(super) fn has(&self, id: i64) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Notes that the upload `id` has a name, which must be free.
    pub(super) fn insert(&mut self, name: &EntryName, id: i64) {
        self.by_name.insert(name.clone(), id);
        self.by_id.insert(id, name.clone());
    }

    /// Frees the name of the upload `id`, if it has one.
    pub(super) fn remove(&mut self, id: i64) {
        if let Some(name) = self.by_id.remove(&id) {
            self.by_name.remove(&name);
        }
    }
}
