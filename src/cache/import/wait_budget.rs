//! How long the lookups of one import may keep BuildKit waiting, all together.
//!
//! BuildKit asks layer by layer, step after step: a bound on each lookup alone would let a service
//! that hangs stop a build once for every step. Only waiting counts: a lookup that is answered
//! soon costs nothing, however many there are and however long the build takes.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

/// What a lookup may take before it counts as waiting: a healthy service needs a fraction of it.
const FREE: Duration = Duration::from_secs(1);

/// The time that is left for waiting.
pub(super) struct WaitBudget {
    total: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What earlier waits took.
    spent: Duration,
    /// Lookups that wait now, and since when there are any: those that wait together count once.
    waiting: usize,
    since: Option<Instant>,
}

/// A lookup that waits; its time counts until this is dropped.
struct Wait<'a>(&'a WaitBudget);

impl WaitBudget {
    pub fn new(total: Duration) -> Self {
        Self {
            total,
            state: Mutex::default(),
        }
    }

    /// When a lookup that begins now has to be done. A little later than [`WaitBudget::run`] ends
    /// it: only waits that would be far too long are to end by this, before they begin.
    pub fn deadline(&self) -> Instant {
        Instant::now() + FREE + self.remaining() + FREE
    }

    /// Runs a lookup. `None`: the budget is used up, and the lookup is not begun, or ended.
    pub async fn run<T>(&self, lookup: impl Future<Output = T>) -> Option<T> {
        if self.remaining().is_zero() {
            return None;
        }
        let mut lookup = Box::pin(lookup);
        if let Ok(done) = timeout(FREE, &mut lookup).await {
            return Some(done);
        }
        let _wait = self.wait();
        timeout(self.remaining(), lookup).await.ok()
    }

    /// What all waits together may take.
    pub fn total(&self) -> Duration {
        self.total
    }

    fn remaining(&self) -> Duration {
        let state = self.state.lock();
        let now = state.since.map_or(Duration::ZERO, |since| since.elapsed());
        self.total.saturating_sub(state.spent + now)
    }

    fn wait(&self) -> Wait<'_> {
        let mut state = self.state.lock();
        state.waiting += 1;
        state.since.get_or_insert_with(Instant::now);
        Wait(self)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.waiting -= 1;
        if state.waiting == 0
            && let Some(since) = state.since.take()
        {
            state.spent += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    const BUDGET: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn lookups_that_are_answered_soon_cost_nothing() {
        let waiting = WaitBudget::new(BUDGET);
        for _ in 0..10_000 {
            let done = waiting.run(sleep(Duration::from_millis(900))).await;
            assert!(done.is_some());
        }
        assert_eq!(waiting.remaining(), BUDGET);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_service_costs_the_budget_once_whatever_is_looked_up() {
        let waiting = WaitBudget::new(BUDGET);
        let start = Instant::now();
        // Eight steps, one after another, with ten layers each.
        for _ in 0..8 {
            let lookups = (0..10).map(|_| waiting.run(std::future::pending::<()>()));
            assert!(join_all(lookups).await.iter().all(Option::is_none));
        }
        assert_eq!(start.elapsed(), FREE + BUDGET);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_use_it_up_together_and_ended_waits_are_over() {
        let waiting = WaitBudget::new(BUDGET);
        let slow = || waiting.run(sleep(Duration::from_secs(11)));
        assert!(
            join_all([slow(), slow(), slow()])
                .await
                .iter()
                .all(Option::is_some)
        );
        assert_eq!(waiting.remaining(), Duration::from_secs(20));
        let gone = timeout(Duration::from_secs(6), slow()).await;
        assert!(gone.is_err());
        assert_eq!(waiting.remaining(), Duration::from_secs(15));
        assert!(slow().await.is_some() && slow().await.is_none());
    }
}
