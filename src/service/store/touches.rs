//! When entries were found, for a store that writes it now and then, so that no lookup waits for a commit.

use std::collections::HashMap;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::entry_store::Entry;

/// How many times of access wait to be written, at most.
const MAX_TOUCHES: usize = 1_000;

/// Milliseconds since 1970, by id.
pub(super) type Times = HashMap<i64, i64>;

/// Times of access that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Touches(Mutex<Times>);

impl Touches {
    /// Notes one. True if it is time to write them.
    pub(super) fn add(&self, id: i64, now: Timestamp) -> bool {
        let mut touched = self.0.lock();
        touched.insert(id, now.as_millisecond());
        touched.len() >= MAX_TOUCHES
    }

    /// All, which are not noted any more.
    pub(super) fn take(&self) -> Times {
        std::mem::take(&mut *self.0.lock())
    }

    /// Notes again what could not be written, for as long as there is room.
    pub(super) fn put_back(&self, all: Times) {
        let mut touched = self.0.lock();
        for (id, at) in all {
            if touched.len() < MAX_TOUCHES {
                touched.entry(id).or_insert(at);
            }
        }
    }

    /// Puts in the accesses that are noted and not written.
    pub(super) fn show(&self, entries: &mut [Entry]) {
        let touched = self.0.lock();
        for entry in entries {
            let at = touched.get(&entry.id);
            let at = at.and_then(|at| Timestamp::from_millisecond(*at).ok());
            entry.accessed = at.map_or(entry.accessed, |at| at.max(entry.accessed));
        }
    }
}
