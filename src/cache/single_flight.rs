//! Single flight: one future per key, shared by everybody who wants its outcome at that time.

use std::{collections::HashMap, hash::Hash};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

/// A future that many may await. It is dropped, and what it does ends, with the last clone.
pub(super) type SharedFuture<T> = Shared<BoxFuture<'static, T>>;

/// The futures that somebody holds, by their keys.
pub(super) struct SingleFlight<K, T: Clone>(Mutex<HashMap<K, WeakShared<BoxFuture<'static, T>>>>);

impl<K, T: Clone> Default for SingleFlight<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T: Clone> SingleFlight<K, T> {
    /// The future of `key`: the one that somebody holds, else the one that `start` makes.
    pub fn join(&self, key: K, start: impl FnOnce() -> BoxFuture<'static, T>) -> SharedFuture<T> {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.upgrade().is_some());
        let flight = start().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        flight
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn holders_share_and_the_last_one_ends_it() {
        let flights = SingleFlight::<u8, u32>::default();
        let started = Arc::new(AtomicU32::new(0));
        let start = || {
            let started = Arc::clone(&started);
            async move { started.fetch_add(1, Ordering::Relaxed) + 1 }.boxed()
        };
        let first = flights.join(1, start);
        let second = flights.join(1, start);
        assert_eq!((first.clone().await, second.await), (1, 1));
        // Done, but still held: shared as it is.
        assert_eq!(flights.join(1, start).await, 1);
        drop(first);
        assert_eq!(flights.join(1, start).await, 2);
    }

    #[tokio::test]
    async fn what_nobody_awaits_is_dropped() {
        let flights = SingleFlight::<u8, ()>::default();
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let mut flight = flights.join(1, || {
            async move {
                std::future::pending::<()>().await;
                drop(inside);
            }
            .boxed()
        });
        assert!((&mut flight).now_or_never().is_none());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(flight);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
