//! A rate limit on calls that their callers reset.
//!
//! A call that is opened and reset counts for no limit of concurrent streams, and yet it was work: for us,
//! and for buildkitd behind us. So the connection that it came on waits for a slot before it is read again,
//! and while it waits its client cannot send more. A build that is cancelled resets a few dozen calls,
//! which the burst takes at once.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// One reset call each such time, over all connections: more than builds make that are cancelled, and
/// little of what buildkitd can do.
const INTERVAL: Duration = Duration::from_millis(1);

/// Resets that nobody waits for, after a time without any: as many as one connection may have calls.
const BURST: u32 = super::http2::MAX_CALLS;

/// How long a connection waits for its slot at most: a client that cancels something beside an attack of
/// a thousand connections goes on after this.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Shared by all connections.
#[derive(Debug, Default)]
pub(crate) struct ResetLimiter {
    /// When the next slot is. A time in the past allows a burst.
    next: Mutex<Option<Instant>>,
}

impl ResetLimiter {
    /// Waits for the slot of one call that was reset.
    pub async fn acquire(&self) {
        let slot = self.next_slot();
        if slot > Instant::now() {
            sleep_until(slot).await;
        }
    }

    fn next_slot(&self) -> Instant {
        let now = Instant::now();
        let earliest = now.checked_sub(INTERVAL * BURST).unwrap_or(now);
        let mut next = self.next.lock();
        let slot = next.unwrap_or(earliest).max(earliest);
        // Turns of connections that are gone meanwhile pile up no further than this.
        let slot = slot.min(now + MAX_WAIT);
        *next = Some(slot + INTERVAL);
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_more_takes_its_time() {
        let resets = ResetLimiter::default();
        tokio::time::advance(2 * INTERVAL * BURST).await;
        let began = Instant::now();
        for _ in 0..=BURST {
            resets.acquire().await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..100 {
            resets.acquire().await;
        }
        assert_eq!(began.elapsed(), 100 * INTERVAL);
        // What connections wait for that nobody waits for any more.
        for _ in 0..10 * MAX_WAIT.as_millis() {
            resets.next_slot();
        }
        let began = Instant::now();
        resets.acquire().await;
        assert_eq!(began.elapsed(), MAX_WAIT);
    }
}
