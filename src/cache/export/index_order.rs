//! The order of exports to one index, where one of them goes on after its build.
//!
//! Of the indexes in a scope the newest counts. An export that goes on may be done after one that began
//! later, and must not take the place of what that one has written.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::MutexGuard;

use crate::{actions::Identity, protocol::key::IndexKey};

/// The indexes that exports of this process go on to write.
#[derive(Default)]
pub(in crate::cache) struct IndexOrders {
    next: AtomicU64,
    by_index: Mutex<HashMap<(Identity, IndexKey), Weak<IndexOrder>>>,
}

/// The newest turn that has been concluded; locked while one is.
type IndexOrder = tokio::sync::Mutex<u64>;

/// The place of one export among those to its index: that in which their manifests came.
pub(super) struct Turn {
    number: u64,
    /// `None` where no export goes on.
    order: Option<Arc<IndexOrder>>,
    gives_way: bool,
}

/// The turn of an export that may write the index now.
pub(super) struct ActiveTurn<'a> {
    number: u64,
    newest: Option<MutexGuard<'a, u64>>,
}

impl IndexOrders {
    /// The turn of an export whose manifest has come. One that goes on after its build gives way to
    /// later ones.
    pub(super) fn turn(&self, identity: &Identity, index: &IndexKey, goes_on: bool) -> Turn {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let mut orders = self.by_index.lock();
        orders.retain(|_, order| order.strong_count() > 0);
        let key = (identity.clone(), index.clone());
        let mut order = orders.get(&key).and_then(Weak::upgrade);
        if goes_on && order.is_none() {
            let new = Arc::new(IndexOrder::default());
            orders.insert(key, Arc::downgrade(&new));
            order = Some(new);
        }
        Turn {
            number,
            order,
            gives_way: goes_on,
        }
    }
}

impl Turn {
    /// Waits while another export writes the index. `None`: a later one has, and this one gives way.
    pub async fn begin(&self) -> Option<ActiveTurn<'_>> {
        let newest = match &self.order {
            Some(order) => Some(order.lock().await),
            None => None,
        };
        let later = newest.as_ref().is_some_and(|newest| **newest > self.number);
        if later && self.gives_way {
            return None;
        }
        let number = self.number;
        Some(ActiveTurn { number, newest })
    }
}

impl ActiveTurn<'_> {
    /// The index says what this export wants it to say.
    pub fn conclude(self) {
        if let Some(mut newest) = self.newest {
            *newest = (*newest).max(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_goes_on_gives_way_to_later_ones_alone() {
        let orders = IndexOrders::default();
        let identity = Identity("v2 here".to_owned());
        let index = IndexKey::new("a", "refs/heads/main", false);
        let other = IndexKey::new("b", "refs/heads/main", false);
        let turn = |index, goes_on| orders.turn(&identity, index, goes_on);
        let (first, elsewhere) = (turn(&index, true), turn(&other, true));
        let (waits, last) = (turn(&index, false), turn(&index, true));
        last.begin().await.unwrap().conclude();
        assert!(first.begin().await.is_none());
        waits.begin().await.unwrap().conclude();
        elsewhere.begin().await.unwrap().conclude();
        // One that came to nothing is not waited for.
        let (next, failed) = (turn(&index, true), turn(&index, true));
        drop(failed.begin().await);
        next.begin().await.unwrap().conclude();
        drop((first, elsewhere, waits, last, next, failed));
        assert!(turn(&index, false).order.is_none(), "nothing is kept");
    }
}
