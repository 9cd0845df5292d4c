//! What calls cost that their callers take back.
//!
//! A call that is opened and reset counts for no limit of concurrent streams, and yet it was work: for us,
//! and for buildkitd behind us. So the connection that it came on waits its turn before it is read again,
//! and while it waits its client cannot send more. A build that is cancelled resets a few dozen calls,
//! which the burst takes at once.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// One reset call each such time, over all connections: more than builds make that are cancelled, and
/// little of what buildkitd can do.
const INTERVAL: Duration = Duration::from_millis(1);

/// Resets that nobody waits for, after a time without any: as many as one connection may have calls.
const BURST: u32 = super::http2::CALLS;

/// How long a connection waits for its turn at most: a client that cancels something beside an attack of
/// a thousand connections goes on after this.
const LONGEST: Duration = Duration::from_secs(1);

/// The turns of all connections.
#[derive(Debug, Default)]
pub(crate) struct Resets {
    /// When the next turn is. A time that is past is room for a burst.
    next: Mutex<Option<Instant>>,
}

impl Resets {
    /// Waits for the turn of one call that was reset.
    pub async fn turn(&self) {
        let turn = self.take();
        if turn > Instant::now() {
            sleep_until(turn).await;
        }
    }

    fn take(&self) -> Instant {
        let now = Instant::now();
        let earliest = now.checked_sub(INTERVAL * BURST).unwrap_or(now);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.unwrap_or(earliest).max(earliest);
        // Turns of connections that are gone meanwhile pile up no further than this.
        let turn = turn.min(now + LONGEST);
        *next = Some(turn + INTERVAL);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_more_takes_its_time() {
        let resets = Resets::default();
        tokio::time::advance(2 * INTERVAL * BURST).await;
        let began = Instant::now();
        for _ in 0..=BURST {
            resets.turn().await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..100 {
            resets.turn().await;
        }
        assert_eq!(began.elapsed(), 100 * INTERVAL);
        // What connections wait for that nobody waits for any more.
        for _ in 0..10 * LONGEST.as_millis() {
            resets.take();
        }
        let began = Instant::now();
        resets.turn().await;
        assert_eq!(began.elapsed(), LONGEST);
    }
}
