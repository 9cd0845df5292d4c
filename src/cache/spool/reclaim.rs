//! Bytes that the remote has, given back while the rest of their file is on its way.
//!
//! Nobody reads a confirmed part again, unless the upload has to start over under another key. So
//! parts are given back only when others would get no room, and an upload that has given some back
//! cannot start over (ADR 12).

use std::{
    io,
    ops::Range,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{FallocateFlags, fallocate};

use super::{PAGE, Spool, SpoolFile};
use crate::lifecycle::run_blocking;

/// What of one file is not needed any more.
#[derive(Debug, Default)]
pub(super) struct ConfirmedRanges {
    ranges: Vec<Range<u64>>,
    /// Pages that have been given back.
    pub pages: usize,
}

/// The files of a spool that have something to give back.
#[derive(Debug, Default)]
pub(super) struct ReclaimableFiles(Mutex<Vec<Weak<SpoolFile>>>);

impl SpoolFile {
    /// The remote has confirmed these bytes.
    pub fn confirmed(self: &Arc<Self>, range: Range<u64>) {
        let is_first = {
            let mut confirmed = self.confirmed_ranges();
            confirmed.ranges.push(range);
            confirmed.ranges.len() == 1
        };
        if is_first {
            let mut reclaimable = self.release.0.0.reclaimable.0.lock();
            reclaimable.retain(|file| file.strong_count() > 0);
            reclaimable.push(Arc::downgrade(self));
        }
    }

    /// All bytes will be needed again. False if some have been given back.
    pub fn start_over(&self) -> bool {
        let mut confirmed = self.confirmed_ranges();
        confirmed.ranges.clear();
        confirmed.pages == 0
    }

    pub(super) fn confirmed_ranges(&self) -> MutexGuard<'_, ConfirmedRanges> {
        self.confirmed_ranges.lock()
    }

    /// Gives back what is confirmed. True if that was anything.
    fn give_back(&self) -> bool {
        // Held throughout: an upload that starts over meanwhile must know.
        let mut confirmed = self.confirmed_ranges();
        let mut ranges = std::mem::take(&mut confirmed.ranges);
        ranges.sort_unstable_by_key(|range| range.start);
        let mut pages = 0;
        for range in joined(ranges) {
            let (start, end) = (range.start.div_ceil(PAGE), range.end / PAGE);
            let Some(count) = end.checked_sub(start).filter(|count| *count > 0) else {
                continue;
            };
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match fallocate(&*self.file, punch, start * PAGE, count * PAGE) {
                Ok(()) => pages += usize::try_from(count).unwrap_or_default(),
                Err(error) => tracing::debug!(%error, "confirmed parts stay on disk"),
            }
        }
        confirmed.pages += pages;
        drop(confirmed);
        let mut held = self.pages.lock();
        let pages = pages.min(held.num_permits());
        drop(held.split(pages));
        pages > 0
    }
}

impl Spool {
    /// Returns when no more than `limit` bytes are in use.
    pub async fn wait_until_below(&self, limit: u64) {
        loop {
            let released = self.0.released.notified();
            tokio::pin!(released);
            // From now on no release is missed.
            released.as_mut().enable();
            if self.used() <= limit {
                return;
            }
            released.await;
        }
    }

    /// Gives back what uploads have confirmed. True if that was anything.
    pub(super) async fn reclaim(&self) -> bool {
        let reclaimable = std::mem::take(&mut *self.0.reclaimable.0.lock());
        let files: Vec<_> = reclaimable.iter().filter_map(Weak::upgrade).collect();
        if files.is_empty() {
            return false;
        }
        let given = run_blocking(move || {
            let given = files.iter().map(|file| file.give_back());
            Ok::<_, io::Error>(given.filter(|given| *given).count() > 0)
        });
        given.await.unwrap_or(false)
    }
}

/// Ranges that touch, made one: a part need not end where a page does.
fn joined(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}
