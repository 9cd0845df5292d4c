//! When entries were found, for a store that writes it now and then, so that no lookup waits for a commit.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::entry_store::Entry;

/// How many times of access wait to be written, at most.
const MAX_TOUCHES: usize = 1_000;

/// Milliseconds since 1970, by id.
pub(super) type Times = HashMap<i64, i64>;

/// Times of access that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Touches(Mutex<Unwritten>);

#[derive(Debug, Default)]
struct Unwritten {
    noted: Times,
    /// Those on their way: whoever reads the database meanwhile does not find them there.
    writing: Vec<Arc<Times>>,
}

impl Unwritten {
    /// When an entry was found last, as far as that is not written.
    fn last(&self, id: i64) -> Option<i64> {
        let writing = self.writing.iter().map(|times| &**times);
        let all = writing.chain([&self.noted]);
        all.filter_map(|times| times.get(&id).copied()).max()
    }

    fn forget(&mut self, written: &Arc<Times>) {
        self.writing.retain(|times| !Arc::ptr_eq(times, written));
    }
}

impl Touches {
    /// Notes one. True if it is time to write them.
    pub(super) fn add(&self, id: i64, now: Timestamp) -> bool {
        let noted = &mut self.0.lock().noted;
        noted.insert(id, now.as_millisecond());
        noted.len() >= MAX_TOUCHES
    }

    /// All that wait, to be written: until [`Touches::written`] or [`Touches::put_back`] has them. `None` if there are
    /// none.
    pub(super) fn take(&self) -> Option<Arc<Times>> {
        let mut unwritten = self.0.lock();
        if unwritten.noted.is_empty() {
            return None;
        }
        let all = Arc::new(std::mem::take(&mut unwritten.noted));
        unwritten.writing.push(Arc::clone(&all));
        Some(all)
    }

    /// Says that they are written.
    pub(super) fn written(&self, all: &Arc<Times>) {
        self.0.lock().forget(all);
    }

    /// Notes again what could not be written, for as long as there is room.
    pub(super) fn put_back(&self, all: &Arc<Times>) {
        let mut unwritten = self.0.lock();
        unwritten.forget(all);
        for (id, at) in &**all {
            if unwritten.noted.len() < MAX_TOUCHES {
                unwritten.noted.entry(*id).or_insert(*at);
            }
        }
    }

    /// True if an entry was found later than it says, and that is not written yet.
    pub(super) fn is_later(&self, entry: &Entry) -> bool {
        let last = self.0.lock().last(entry.id);
        last.is_some_and(|at| at > entry.accessed.as_millisecond())
    }

    /// Puts in the accesses that are noted and not written.
    pub(super) fn show(&self, entries: &mut [Entry]) {
        let unwritten = self.0.lock();
        for entry in entries {
            let at = unwritten.last(entry.id);
            let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
            entry.accessed = at.map_or(entry.accessed, |at| at.max(entry.accessed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_counts_until_it_is_written() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut entry = Entry {
            accessed: at(1),
            ..Entry::of_one_byte(1, "k")
        };
        let touches = Touches::default();
        assert!(touches.take().is_none());
        touches.add(1, at(5));
        let first = touches.take().unwrap();
        assert!(touches.is_later(&entry));
        touches.add(1, at(7));
        let second = touches.take().unwrap();
        touches.written(&second);
        touches.put_back(&first);
        assert!(touches.is_later(&entry));
        touches.show(std::slice::from_mut(&mut entry));
        assert_eq!(entry.accessed, at(5));
        assert!(!touches.is_later(&entry));
        let again = touches.take().unwrap();
        assert_eq!(again.len(), 1);
        touches.written(&again);
        assert!(touches.0.lock().writing.is_empty());
    }
}
