//! How long the lookups of one import may keep BuildKit waiting, all together.
//!
//! BuildKit asks layer by layer, step after step: a bound on each lookup alone would let a service
//! that hangs stop a build once for every step. Only waiting counts: a lookup that is answered
//! soon costs nothing, however many there are and however long the build takes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};

/// What a lookup may take before it counts as waiting: a healthy service needs a fraction of it.
const SOON: Duration = Duration::from_secs(1);

/// The time that is left for waiting.
pub(super) struct WaitBudget {
    budget: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What earlier waits took.
    spent: Duration,
    /// Lookups that wait now, and since when there are any: those that wait together count once.
    waiting: usize,
    since: Option<Instant>,
    told: bool,
}

/// A lookup that waits.
struct Wait<'a>(&'a WaitBudget);

impl WaitBudget {
    pub fn new(budget: Duration) -> Self {
        Self {
            budget,
            state: Mutex::default(),
        }
    }

    /// When a lookup that begins now has to be done. A little later than [`Patience::bear`] ends
    /// it: only waits that would be far too long are to end by this, before they begin.
    pub fn deadline(&self) -> Instant {
        Instant::now() + SOON + self.left() + SOON
    }

    /// Runs a lookup. None: there is no patience left for it, and it is not begun, or ended.
    pub async fn bear<T>(&self, lookup: impl Future<Output = T>) -> Option<T> {
        if self.left().is_zero() {
            return None;
        }
        let mut lookup = Box::pin(lookup);
        if let Ok(done) = timeout(SOON, &mut lookup).await {
            return Some(done);
        }
        let _waits = self.wait();
        timeout(self.left(), lookup).await.ok()
    }

    /// True the first time: people are told once that patience has ended.
    pub fn tell(&self) -> bool {
        !std::mem::replace(&mut self.lock().told, true)
    }

    /// The whole of it.
    pub fn budget(&self) -> Duration {
        self.budget
    }

    fn left(&self) -> Duration {
        let state = self.lock();
        let now = state.since.map_or(Duration::ZERO, |since| since.elapsed());
        self.budget.saturating_sub(state.spent + now)
    }

    fn wait(&self) -> Wait<'_> {
        let mut state = self.lock();
        state.waiting += 1;
        state.since.get_or_insert_with(Instant::now);
        Wait(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
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
        let patience = WaitBudget::new(BUDGET);
        for _ in 0..10_000 {
            let done = patience.bear(sleep(Duration::from_millis(900))).await;
            assert!(done.is_some());
        }
        assert_eq!(patience.left(), BUDGET);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_service_costs_the_budget_once_whatever_is_looked_up() {
        let patience = WaitBudget::new(BUDGET);
        let start = Instant::now();
        // Eight steps, one after another, with ten layers each.
        for _ in 0..8 {
            let lookups = (0..10).map(|_| patience.bear(std::future::pending::<()>()));
            assert!(join_all(lookups).await.iter().all(Option::is_none));
        }
        assert_eq!(start.elapsed(), SOON + BUDGET);
        assert!(patience.tell() && !patience.tell());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_use_it_up_together_and_ended_waits_are_over() {
        let patience = WaitBudget::new(BUDGET);
        let slow = || patience.bear(sleep(Duration::from_secs(11)));
        assert!(
            join_all([slow(), slow(), slow()])
                .await
                .iter()
                .all(Option::is_some)
        );
        assert_eq!(patience.left(), Duration::from_secs(20));
        let gone = timeout(Duration::from_secs(6), slow()).await;
        assert!(gone.is_err());
        assert_eq!(patience.left(), Duration::from_secs(15));
        assert!(slow().await.is_some() && slow().await.is_none());
    }
}
