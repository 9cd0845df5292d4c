//! Reservations that are to go and may still be in the database: it was away when they were given up, or when they
//! were made and nobody learned of it.

use std::collections::HashSet;

use parking_lot::Mutex;

/// How many are remembered, at most: more than a process has uploads. Those beyond stay for as long as the process.
const MAX_STALE: usize = 20_000;

/// Ids of uploads that are none any more.
#[derive(Debug, Default)]
pub(super) struct StaleReservations(Mutex<HashSet<i64>>);

impl StaleReservations {
    /// Notes some.
    pub(super) fn add(&self, ids: impl IntoIterator<Item = i64>) {
        let mut stale = self.0.lock();
        for id in ids {
            if stale.len() < MAX_STALE {
                stale.insert(id);
            }
        }
    }

    /// All, which stay noted.
    pub(super) fn all(&self) -> Vec<i64> {
        self.0.lock().iter().copied().collect()
    }

    /// Forgets those that are gone from the database.
    pub(super) fn remove(&self, ids: &[i64]) {
        let mut stale = self.0.lock();
        for id in ids {
            stale.remove(id);
        }
    }
}
