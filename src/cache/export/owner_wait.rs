//! How long the owner of a reservation is waited for.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The first wait for somebody's reservation; doubled each time. An upload of a small layer is
/// done in about a second.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest of these waits: one lookup in 8 s is little for the service even if many layers
/// wait.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// For how long an upload waits for those who have reserved its keys. As long as every export that
/// needs the layer has other things to do, waiting costs nothing and has no end. Clones are one limit.
#[derive(Clone, Default)]
pub(super) struct OwnerLimit(CancellationToken);

impl OwnerLimit {
    /// From now on an owner is waited for only until its grace is over: an export has nothing else
    /// left to do.
    pub fn set(&self) {
        self.0.cancel();
    }

    /// A wait for an owner that is first seen now and has this `grace` in any case.
    pub fn wait(&self, grace: Duration) -> OwnerWait {
        let due = Instant::now() + grace;
        OwnerWait {
            is_over: grace.is_zero() && self.0.is_cancelled(),
            limit: self.0.clone(),
            due,
            next: FIRST_WAIT,
        }
    }
}

/// The wait for one owner, between looks at what it has done.
pub(super) struct OwnerWait {
    limit: CancellationToken,
    /// When the grace is over.
    due: Instant,
    next: Duration,
    is_over: bool,
}

impl OwnerWait {
    /// True if the next look is the last one.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Waits until it is time to look again.
    pub async fn pause(&mut self) {
        let now = Instant::now();
        let next = now + self.next;
        let next = if now < self.due {
            next.min(self.due)
        } else {
            next
        };
        let over = async {
            sleep_until(self.due).await;
            self.limit.cancelled().await;
        };
        self.is_over = tokio::select! {
            biased;
            () = over => true,
            () = sleep_until(next) => false,
        };
        self.next = (self.next * 2).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// When an owner that never finishes is looked at, in seconds, if the wait is limited after so
    /// many.
    async fn looks(grace: u32, limited_after: u32) -> Vec<u64> {
        let (limit, begun) = (OwnerLimit::default(), Instant::now());
        let waiting = async {
            let mut wait = limit.wait(grace * SECOND);
            let mut looks = vec![begun.elapsed().as_secs()];
            while !wait.is_over() {
                wait.pause().await;
                looks.push(begun.elapsed().as_secs());
            }
            looks
        };
        let limited = async {
            sleep(limited_after * SECOND).await;
            limit.set();
        };
        tokio::join!(waiting, limited).0
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_has_its_grace_and_the_time_that_the_export_has_anyway() {
        assert_eq!(looks(5, 0).await, [0, 1, 3, 5]);
        assert_eq!(looks(5, 4).await, [0, 1, 3, 5]);
        assert_eq!(looks(5, 10).await, [0, 1, 3, 5, 10]);
        assert_eq!(looks(5, 30).await, [0, 1, 3, 5, 13, 21, 29, 30]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_grace_a_limited_wait_is_over_at_once() {
        let limit = OwnerLimit::default();
        assert!(!limit.wait(Duration::ZERO).is_over());
        limit.set();
        assert!(limit.wait(Duration::ZERO).is_over());
        assert!(!limit.wait(SECOND).is_over());
    }
}
