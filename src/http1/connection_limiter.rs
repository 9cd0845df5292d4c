//! A bounded number of connections, where one that is in use does not wait for those that are not.
//!
//! Who opens connections and says nothing takes the places of others. So a connection that has shown no
//! use of its place gives it up, the oldest first, as soon as somebody needs it.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The places of one listener.
#[derive(Debug)]
pub struct ConnectionLimiter {
    capacity: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    next: u64,
    /// Those that may be asked to leave, the oldest first.
    idle: BTreeMap<u64, CancellationToken>,
}

/// The place of one connection, as long as it has it.
#[derive(Debug)]
pub struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
    left: CancellationToken,
}

impl ConnectionLimiter {
    /// So many places.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            state: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Waits until a place is free, or can be made free.
    pub async fn ready(&self) {
        loop {
            let freed = self.freed.notified();
            {
                let state = self.state();
                if state.taken < self.capacity || !state.idle.is_empty() {
                    return;
                }
            }
            freed.await;
        }
    }

    /// Takes a place, if need be that of the oldest idle connection. The new one is idle.
    pub fn acquire(self: &Arc<Self>) -> ConnectionPermit {
        let mut state = self.state();
        if state.taken >= self.capacity {
            state.evict();
        }
        state.taken += 1;
        state.next += 1;
        let (number, left) = (state.next, CancellationToken::new());
        state.idle.insert(number, left.clone());
        ConnectionPermit {
            limiter: Arc::clone(self),
            number,
            left,
        }
    }

    /// The system has no room for another connection, whatever was planned: one goes.
    pub fn evict_oldest(&self) {
        self.state().evict();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn evict(&mut self) {
        if let Some((_, left)) = self.idle.pop_first() {
            left.cancel();
        }
    }
}

impl ConnectionPermit {
    /// The connection is in use: its place is its own.
    pub fn in_use(&self) {
        self.limiter.state().idle.remove(&self.number);
    }

    /// The connection is in use no more, and may be asked to leave.
    pub fn idle(&self) {
        if !self.left.is_cancelled() {
            let mut state = self.limiter.state();
            // It keeps its age: a connection that comes and goes is no younger than it is.
            state.idle.entry(self.number).or_insert(self.left.clone());
            drop(state);
            self.limiter.freed.notify_one();
        }
    }

    /// Ready when the place is somebody else's.
    pub async fn evicted(&self) {
        self.left.cancelled().await;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        state.taken -= 1;
        state.idle.remove(&self.number);
        drop(state);
        self.limiter.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_oldest_idle_connection_leaves_for_a_new_one() {
        let limiter = ConnectionLimiter::new(2);
        let (first, second) = (limiter.acquire(), limiter.acquire());
        first.in_use();
        assert!(limiter.ready().now_or_never().is_some());
        let third = limiter.acquire();
        assert!(second.evicted().now_or_never().is_some());
        assert!(first.evicted().now_or_never().is_none());
        third.in_use();
        drop(second);
        assert!(limiter.ready().now_or_never().is_none(), "both are in use");
        first.idle();
        assert!(limiter.ready().now_or_never().is_some());
        limiter.evict_oldest();
        assert!(first.evicted().now_or_never().is_some());
        drop(first);
        assert!(limiter.ready().now_or_never().is_some());
    }
}
