//! Notices that a transfer has stalled.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::actions;

/// Watches one transfer, over all of its attempts.
pub(super) struct Watchdog {
    limit: Duration,
    last: Mutex<Progress>,
}

struct Progress {
    /// When enough last moved.
    at: Instant,
    /// Bytes since then.
    bytes: u64,
}

impl Watchdog {
    /// A watchdog for a transfer that may stand still for `limit`. A few bytes are no movement:
    /// [`actions::min_bytes`] says how many are.
    pub fn new(limit: Duration) -> Self {
        let at = Instant::now();
        Self {
            limit,
            last: Mutex::new(Progress { at, bytes: 0 }),
        }
    }

    /// Notes that bytes have moved.
    pub fn record(&self, bytes: usize) {
        let mut last = self.last.lock();
        last.bytes = last.bytes.saturating_add(bytes as u64);
        if last.bytes >= actions::min_bytes(self.limit) {
            let at = Instant::now();
            *last = Progress { at, bytes: 0 };
        }
    }

    /// Waits until the transfer has stalled.
    pub async fn stalled(&self) {
        loop {
            let last = self.last.lock().at;
            if last.elapsed() >= self.limit {
                return;
            }
            sleep_until(last + self.limit).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(50);

    #[tokio::test(start_paused = true)]
    async fn only_enough_bytes_put_a_stall_off() {
        let watchdog = Watchdog::new(LIMIT);
        let enough = usize::try_from(actions::min_bytes(LIMIT)).unwrap();
        let half = Duration::from_secs(25);
        tokio::time::advance(half).await;
        watchdog.record(enough);
        tokio::time::advance(half).await;
        watchdog.record(enough - 1);
        assert!(watchdog.stalled().now_or_never().is_none());
        tokio::time::advance(half).await;
        assert!(watchdog.stalled().now_or_never().is_some());
    }
}
