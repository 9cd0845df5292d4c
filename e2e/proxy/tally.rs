//! What has gone through a proxy.

use std::sync::{Arc, atomic::Ordering};

use super::{Operation, Proxy, Shared, Subject, lock};

/// Calls and bytes since the last [`Proxy::restart_tally`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that carry no bytes of an entry.
    pub api: u64,
    /// Calls that carry the bytes of an entry, or look whether they are there.
    pub blob: u64,
    /// Entries that were reserved, or asked for.
    pub reserved: u64,
    /// Bytes of requests, heads apart.
    pub up: u64,
    /// Bytes of answers, heads apart.
    pub down: u64,
    /// The most requests that were under way at the same time.
    pub most_in_flight: usize,
}

impl Proxy {
    /// How many requests of an operation have come so far, for any entry.
    pub fn requests(&self, operation: Operation) -> u64 {
        let requests = lock(&self.shared.requests);
        let ours = requests.iter().filter(|((of, _), _)| *of == operation);
        ours.map(|(_, count)| count).sum()
    }

    /// The most requests that were under way at the same time.
    pub fn max_in_flight(&self) -> usize {
        self.shared.max_in_flight.load(Ordering::Relaxed)
    }

    /// What has gone through.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            up: self.shared.up.bytes.load(Ordering::Relaxed),
            down: self.shared.down.bytes.load(Ordering::Relaxed),
            most_in_flight: self.max_in_flight(),
            ..Tally::default()
        };
        for ((operation, _), count) in &*lock(&self.shared.requests) {
            if operation.carries_bytes() {
                tally.blob += count;
            } else {
                tally.api += count;
            }
            if matches!(operation, Operation::Reserve | Operation::Create) {
                tally.reserved += count;
            }
        }
        tally
    }

    /// Counts from nothing again.
    pub fn restart_tally(&self) {
        let shared = &self.shared;
        lock(&shared.requests).clear();
        shared.up.bytes.store(0, Ordering::Relaxed);
        shared.down.bytes.store(0, Ordering::Relaxed);
        let now = shared.in_flight.load(Ordering::Relaxed);
        shared.max_in_flight.store(now, Ordering::Relaxed);
    }
}

/// One request under way.
pub(super) struct InFlight(Arc<Shared>);

impl InFlight {
    pub fn enter(shared: &Arc<Shared>, operation: Operation, subject: Subject) -> Self {
        *lock(&shared.requests)
            .entry((operation, subject))
            .or_default() += 1;
        let now = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        shared.max_in_flight.fetch_max(now, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
