//! Where entries take more than they may right now: whoever wants to write more there waits until some are
//! evicted. So entries are never above their budget by more than the uploads that were in flight when it was crossed.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

/// How long a reservation waits for room. Evictions take milliseconds for each entry; where there is none after
/// this they fail, and the client is told so before it gives its call up.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// A repository, or `None` for all of them together.
pub(super) type Domain = Option<String>;

/// Which budgets are crossed, as far as this process knows.
#[derive(Debug, Default)]
pub(super) struct CrossedBudgets {
    /// By domain, how often it was found to be crossed.
    crossed: watch::Sender<HashMap<Domain, u64>>,
    wake: Notify,
}

impl CrossedBudgets {
    /// Says that entries of a domain take more than they may, and wakes whoever evicts.
    pub(super) fn cross(&self, domain: Domain) {
        self.crossed.send_modify(|crossed| {
            *crossed.entry(domain).or_default() += 1;
        });
        self.wake();
    }

    /// Wakes whoever evicts, or lets it begin anew once it is done.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Returns when there is something to evict.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// How often a domain was found to be crossed, for [`CrossedBudgets::clear`].
    pub(super) fn crossings(&self, domain: &Domain) -> Option<u64> {
        self.crossed.borrow().get(domain).copied()
    }

    /// Says that a domain is within its budget, unless somebody has found otherwise since it was crossed so often.
    pub(super) fn clear(&self, domain: &Domain, crossings: Option<u64>) {
        self.crossed.send_if_modified(|crossed| {
            let unchanged = crossings.is_some() && crossed.get(domain).copied() == crossings;
            unchanged && crossed.remove(domain).is_some()
        });
    }

    /// The repositories that were found to be crossed.
    pub(super) fn crossed_repositories(&self) -> BTreeSet<String> {
        self.crossed.borrow().keys().flatten().cloned().collect()
    }

    /// Waits until entries of a repository may be written. False if there is no room for too long.
    pub(super) async fn wait(&self, repository: &str) -> bool {
        let own = Some(repository.to_owned());
        let is_free = |crossed: &HashMap<Domain, u64>| {
            crossed.is_empty() || !(crossed.contains_key(&None) || crossed.contains_key(&own))
        };
        let mut crossed = self.crossed.subscribe();
        if is_free(&crossed.borrow()) {
            return true;
        }
        // The last eviction may have failed.
        self.wake();
        let room = crossed.wait_for(is_free);
        // The sender lives as long as this.
        timeout(ROOM_WAIT, room).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_writes_waits_for_its_own_repository_and_for_all() {
        let room = CrossedBudgets::default();
        let own = Some("o/r".to_owned());
        assert!(room.wait("o/r").await);
        room.cross(own.clone());
        assert!(room.wait("o/s").await);
        assert!(!room.wait("o/r").await, "nobody has evicted anything");
        room.cross(None);
        assert!(!room.wait("o/s").await);
        room.clear(&None, room.crossings(&None));
        assert!(room.wait("o/s").await);
        let mut waits = Box::pin(room.wait("o/r"));
        assert!((&mut waits).now_or_never().is_none());
        room.clear(&own, room.crossings(&own));
        assert!(waits.await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_crossed_again_meanwhile_stays_so() {
        let room = CrossedBudgets::default();
        room.cross(None);
        let seen = room.crossings(&None);
        room.cross(None);
        room.clear(&None, seen);
        assert!(!room.wait("o/r").await);
        room.clear(&None, room.crossings(&None));
        assert!(room.wait("o/r").await);
        room.clear(&None, None);
    }

    #[tokio::test]
    async fn a_wake_is_not_lost_while_nobody_listens() {
        let room = CrossedBudgets::default();
        room.wake();
        room.wake();
        assert!(room.woken().now_or_never().is_some());
        assert!(room.woken().now_or_never().is_none(), "one is enough");
    }
}
