//! Exports that go on after their builds (`async=true`): all bytes are in the spool, and some are not in
//! the cache.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::layer_tracker::LayerTracker;
use crate::stats::UnfinishedExport;

/// Exports that go on at once. Each keeps a description of its graph in memory; one more holds its build,
/// as it would without `async=true`. A `bake` of one monorepo has fewer targets.
const MAX_PENDING: usize = 64;

/// The exports of the process that go on after their builds.
#[derive(Default)]
pub(in crate::cache) struct PendingExports {
    exports: Mutex<Exports>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct Exports {
    next: u64,
    by_number: BTreeMap<u64, Entry>,
}

struct Entry {
    scope: String,
    tracker: Weak<LayerTracker>,
}

/// One of them, as long as it goes on.
pub(super) struct PendingExport {
    all: Arc<PendingExports>,
    number: u64,
}

impl PendingExports {
    /// Begins another one; `None` if there are too many.
    pub(super) fn begin(
        self: &Arc<Self>,
        scope: &str,
        tracker: &Arc<LayerTracker>,
    ) -> Option<PendingExport> {
        let mut exports = self.exports.lock();
        if exports.by_number.len() >= MAX_PENDING {
            return None;
        }
        exports.next += 1;
        let number = exports.next;
        let entry = Entry {
            scope: scope.to_owned(),
            tracker: Arc::downgrade(tracker),
        };
        exports.by_number.insert(number, entry);
        self.count.send_replace(exports.by_number.len());
        let all = Arc::clone(self);
        Some(PendingExport { all, number })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// What they wait for, the oldest first.
    pub fn list(&self) -> Vec<UnfinishedExport> {
        let exports = self.exports.lock();
        let entries = exports.by_number.values();
        let named = entries.map(|entry| UnfinishedExport {
            scope: entry.scope.clone(),
            layers: entry
                .tracker
                .upgrade()
                .map_or(0, |tracker| tracker.uploading()),
        });
        named.collect()
    }

    /// Returns when there is none.
    pub async fn none(&self) {
        let mut count = self.count.subscribe();
        // The sender lives in `self`: this cannot fail.
        let _ = count.wait_for(|pending| *pending == 0).await;
    }
}

impl Drop for PendingExport {
    fn drop(&mut self) {
        let mut exports = self.all.exports.lock();
        exports.by_number.remove(&self.number);
        self.all.count.send_replace(exports.by_number.len());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn they_are_counted_named_and_bounded() {
        let all = Arc::<PendingExports>::default();
        let tracker = Arc::<LayerTracker>::default();
        all.none().await;
        let mut begun: Vec<_> = (0..MAX_PENDING)
            .map(|at| all.begin(&format!("scope-{at}"), &tracker))
            .collect();
        assert!(begun.iter().all(Option::is_some));
        assert!(all.begin("more", &tracker).is_none());
        assert_eq!(all.count(), MAX_PENDING);
        begun.truncate(1);
        let left = UnfinishedExport {
            scope: "scope-0".to_owned(),
            layers: 0,
        };
        assert_eq!(all.list(), [left]);
        assert!(all.none().now_or_never().is_none());
        begun.clear();
        all.none().await;
        assert!(all.list().is_empty());
    }
}
