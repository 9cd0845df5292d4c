//! How many transfers run side by side: as many as make the link faster, found out as they run.
//!
//! One connection rarely fills a link, and too many only share it. So the limit doubles as long as
//! the bytes per second grow with it, and is halved when transfers fail. It is one number for all
//! layers of the process, in each direction, since they share the link.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{Error, Kind};

/// The first limit: what `BuildKit`'s four slots ask for, twice.
const INITIAL: usize = 8;

/// The limit is never lower.
const MIN: usize = 2;

/// A higher limit is worth keeping if it moves so much more than the one before. Doubling it doubles the
/// speed where each connection has a limit of its own; noise is less than this.
const MIN_GAIN: f64 = 1.15;

/// The transfers of one direction.
#[derive(Debug, Clone)]
pub struct AdaptiveConcurrency(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    direction: &'static str,
    max: usize,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Transfers that run.
    running: usize,
    /// Permits that are taken back when they come free.
    surplus: usize,
    /// The most bytes per second so far.
    best: f64,
    sample: Sample,
}

/// So many transfers as run side by side, one after another: what is measured.
#[derive(Debug, Clone, Copy)]
struct Sample {
    begun: Instant,
    done: usize,
    bytes: u64,
    /// All permits were taken at some time: only then does the limit matter.
    full: bool,
}

impl Sample {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            done: 0,
            bytes: 0,
            full: false,
        }
    }
}

/// One transfer. Dropping it without a report leaves the limit as it is.
#[derive(Debug)]
pub struct Permit {
    concurrency: AdaptiveConcurrency,
    permit: Option<OwnedSemaphorePermit>,
}

impl AdaptiveConcurrency {
    /// A limit for one direction, which never exceeds `max`.
    pub fn new(direction: &'static str, max: usize) -> Self {
        let max = max.max(1);
        let limit = INITIAL.min(max);
        Self(Arc::new(Shared {
            direction,
            max,
            permits: Arc::new(Semaphore::new(limit)),
            state: Mutex::new(State {
                limit,
                running: 0,
                surplus: 0,
                best: 0.0,
                sample: Sample::new(),
            }),
        }))
    }

    /// The most that it can become.
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// What it is now.
    pub fn current(&self) -> usize {
        self.lock().limit
    }

    /// Waits until another transfer may run.
    pub async fn acquire(&self) -> Permit {
        let permit = Arc::clone(&self.0.permits).acquire_owned().await;
        let permit = Some(permit.expect("the semaphore is never closed"));
        let mut state = self.lock();
        if state.running == 0 {
            // The time before was nobody's.
            state.sample = Sample::new();
        }
        state.running += 1;
        state.sample.full |= state.running >= state.limit;
        drop(state);
        Permit {
            concurrency: self.clone(),
            permit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    fn succeeded(&self, bytes: u64) {
        let mut state = self.lock();
        state.sample.done += 1;
        state.sample.bytes += bytes;
        if state.sample.done < state.limit {
            return;
        }
        let sample = std::mem::replace(&mut state.sample, Sample::new());
        let seconds = sample.begun.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
        let rate = sample.bytes as f64 / seconds.max(f64::EPSILON);
        if sample.full && rate > state.best * MIN_GAIN {
            state.best = rate;
            let raised = (state.limit * 2).min(self.0.max);
            self.set_limit(&mut state, raised, rate);
        }
    }

    fn failed(&self) {
        let mut state = self.lock();
        let lowered = (state.limit / 2).max(MIN.min(self.0.max));
        // What was measured is of another time.
        state.best = 0.0;
        state.sample = Sample::new();
        self.set_limit(&mut state, lowered, 0.0);
    }

    fn set_limit(&self, state: &mut State, limit: usize, rate: f64) {
        if limit == state.limit {
            return;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bytes/s"
        )]
        let rate = rate as u64;
        let direction = self.0.direction;
        tracing::info!(
            direction,
            width = limit,
            before = state.limit,
            rate,
            "transfers side by side"
        );
        if limit > state.limit {
            let more = limit - state.limit;
            let kept = more.min(state.surplus);
            state.surplus -= kept;
            self.0.permits.add_permits(more - kept);
        } else {
            let fewer = state.limit - limit;
            let taken = self.0.permits.forget_permits(fewer);
            state.surplus += fewer - taken;
        }
        state.limit = limit;
    }
}

impl Permit {
    /// The transfer of so many bytes is over; the permit is held until it is dropped. Where the
    /// transfer failed on the way, fewer may get through.
    pub fn record(&mut self, bytes: u64, error: Option<&Error>) {
        match error.map(|error| &error.kind) {
            None => self.concurrency.succeeded(bytes),
            Some(
                Kind::Unreachable(_)
                | Kind::Transport
                | Kind::Incomplete
                | Kind::Timeout
                | Kind::Throttled(_),
            ) => {
                self.concurrency.failed();
            }
            // The service's answer has nothing to do with the link.
            Some(_) => {}
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.concurrency.lock();
        state.running -= 1;
        if state.surplus > 0 {
            state.surplus -= 1;
            if let Some(permit) = self.permit.take() {
                permit.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{StreamExt as _, stream};

    use super::*;

    const PART: u64 = 4 << 20;

    /// Sends parts over a link with a rate per connection and one in all.
    async fn send(concurrency: &AdaptiveConcurrency, parts: usize, own: f64, all: f64) {
        let all = &all;
        let transfers = stream::iter(0..parts).map(|_| async move {
            let mut permit = concurrency.acquire().await;
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let share = own.min(all / concurrency.lock().running as f64);
            tokio::time::sleep(Duration::from_secs_f64(4_194_304.0 / share)).await;
            permit.record(PART, None);
        });
        transfers.buffer_unordered(concurrency.max()).count().await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_as_long_as_that_is_faster() {
        let thin = AdaptiveConcurrency::new("up", 32);
        send(&thin, 200, 10e6, 10e6).await;
        assert!(thin.current() <= 16, "{thin:?}");

        let wide = AdaptiveConcurrency::new("up", 32);
        send(&wide, 400, 60e6, 4000e6).await;
        assert_eq!(wide.current(), 32);
        assert_eq!(wide.0.permits.available_permits(), 32);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_make_it_narrower_and_success_wider_again() {
        let concurrency = AdaptiveConcurrency::new("down", 16);
        let permits: Vec<_> = stream::iter(0..8)
            .then(|_| concurrency.acquire())
            .collect::<Vec<_>>()
            .await;
        for permit in permits {
            permit.concurrency.failed();
        }
        assert_eq!(concurrency.current(), MIN);
        assert_eq!(concurrency.0.permits.available_permits(), MIN);
        send(&concurrency, 200, 60e6, 4000e6).await;
        assert_eq!(concurrency.current(), 16);
        assert_eq!(concurrency.0.permits.available_permits(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_transfers_say_nothing_of_the_link() {
        let concurrency = AdaptiveConcurrency::new("up", 16);
        for _ in 0..100 {
            concurrency.acquire().await.record(1, None);
        }
        assert_eq!(concurrency.current(), INITIAL);
    }
}
