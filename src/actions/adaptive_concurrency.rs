//! How many transfers run side by side: as many as make the link faster, found out as they run.
//!
//! One connection rarely fills a link, and too many only share it. So the width doubles as long as
//! the bytes per second grow with it, and is halved when transfers fail. It is one number for all
//! layers of the process, in each direction, since they share the link.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{Error, Kind};

/// The first width: what `BuildKit`'s four slots ask for, twice.
const FIRST: usize = 8;

/// It never becomes narrower.
const LEAST: usize = 2;

/// A width is worth keeping if it moves so much more than the one before. Doubling it doubles the
/// speed where each connection has a limit of its own; noise is less than this.
const WORTH: f64 = 1.15;

/// The transfers of one direction.
#[derive(Debug, Clone)]
pub struct AdaptiveConcurrency(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    direction: &'static str,
    most: usize,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    width: usize,
    /// Transfers that run.
    running: usize,
    /// Permits that are taken back when they come free.
    surplus: usize,
    /// The most bytes per second so far.
    best: f64,
    lap: Lap,
}

/// So many transfers as run side by side, one after another: what is measured.
#[derive(Debug, Clone, Copy)]
struct Lap {
    begun: Instant,
    done: usize,
    bytes: u64,
    /// All places were taken at some time: only then does the width matter.
    full: bool,
}

impl Lap {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            done: 0,
            bytes: 0,
            full: false,
        }
    }
}

/// One transfer's place. Dropping it without a word leaves the width as it is.
#[derive(Debug)]
pub struct Permit {
    width: AdaptiveConcurrency,
    permit: Option<OwnedSemaphorePermit>,
}

impl AdaptiveConcurrency {
    /// A width for one direction, which never exceeds `most`.
    pub fn new(direction: &'static str, most: usize) -> Self {
        let most = most.max(1);
        let width = FIRST.min(most);
        Self(Arc::new(Shared {
            direction,
            most,
            permits: Arc::new(Semaphore::new(width)),
            state: Mutex::new(State {
                width,
                running: 0,
                surplus: 0,
                best: 0.0,
                lap: Lap::new(),
            }),
        }))
    }

    /// The most that it can become.
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// What it is now.
    pub fn now(&self) -> usize {
        self.lock().width
    }

    /// Waits for a place.
    pub async fn acquire(&self) -> Permit {
        let permit = Arc::clone(&self.0.permits).acquire_owned().await;
        let permit = Some(permit.expect("the semaphore is never closed"));
        let mut state = self.lock();
        if state.running == 0 {
            // The time before was nobody's.
            state.lap = Lap::new();
        }
        state.running += 1;
        state.lap.full |= state.running >= state.width;
        drop(state);
        Permit {
            width: self.clone(),
            permit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self, bytes: u64) {
        let mut state = self.lock();
        state.lap.done += 1;
        state.lap.bytes += bytes;
        if state.lap.done < state.width {
            return;
        }
        let lap = std::mem::replace(&mut state.lap, Lap::new());
        let seconds = lap.begun.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
        let rate = lap.bytes as f64 / seconds.max(f64::EPSILON);
        if lap.full && rate > state.best * WORTH {
            state.best = rate;
            let wider = (state.width * 2).min(self.0.most);
            self.set(&mut state, wider, rate);
        }
    }

    fn failed(&self) {
        let mut state = self.lock();
        let narrower = (state.width / 2).max(LEAST.min(self.0.most));
        // What was measured is of another time.
        state.best = 0.0;
        state.lap = Lap::new();
        self.set(&mut state, narrower, 0.0);
    }

    fn set(&self, state: &mut State, width: usize, rate: f64) {
        if width == state.width {
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
            width,
            before = state.width,
            rate,
            "transfers side by side"
        );
        if width > state.width {
            let more = width - state.width;
            let kept = more.min(state.surplus);
            state.surplus -= kept;
            self.0.permits.add_permits(more - kept);
        } else {
            let fewer = state.width - width;
            let taken = self.0.permits.forget_permits(fewer);
            state.surplus += fewer - taken;
        }
        state.width = width;
    }
}

impl Permit {
    /// The transfer of so many bytes is over; the place is kept until it is dropped. Where the
    /// transfer failed on the way, fewer may get through.
    pub fn record(&mut self, bytes: u64, error: Option<&Error>) {
        match error.map(|error| &error.kind) {
            None => self.width.moved(bytes),
            Some(
                Kind::Unreachable(_)
                | Kind::Transport
                | Kind::Incomplete
                | Kind::Timeout
                | Kind::Throttled(_),
            ) => {
                self.width.failed();
            }
            // The service's answer has nothing to do with the link.
            Some(_) => {}
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.width.lock();
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
    async fn send(width: &AdaptiveConcurrency, parts: usize, own: f64, all: f64) {
        let all = &all;
        let transfers = stream::iter(0..parts).map(|_| async move {
            let mut place = width.acquire().await;
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let share = own.min(all / width.lock().running as f64);
            tokio::time::sleep(Duration::from_secs_f64(4_194_304.0 / share)).await;
            place.record(PART, None);
        });
        transfers.buffer_unordered(width.most()).count().await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_as_long_as_that_is_faster() {
        let thin = AdaptiveConcurrency::new("up", 32);
        send(&thin, 200, 10e6, 10e6).await;
        assert!(thin.now() <= 16, "{thin:?}");

        let wide = AdaptiveConcurrency::new("up", 32);
        send(&wide, 400, 60e6, 4000e6).await;
        assert_eq!(wide.now(), 32);
        assert_eq!(wide.0.permits.available_permits(), 32);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_make_it_narrower_and_success_wider_again() {
        let width = AdaptiveConcurrency::new("down", 16);
        let places: Vec<_> = stream::iter(0..8)
            .then(|_| width.acquire())
            .collect::<Vec<_>>()
            .await;
        for place in places {
            place.width.failed();
        }
        assert_eq!(width.now(), LEAST);
        assert_eq!(width.0.permits.available_permits(), LEAST);
        send(&width, 200, 60e6, 4000e6).await;
        assert_eq!(width.now(), 16);
        assert_eq!(width.0.permits.available_permits(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_transfers_say_nothing_of_the_link() {
        let width = AdaptiveConcurrency::new("up", 16);
        for _ in 0..100 {
            width.acquire().await.record(1, None);
        }
        assert_eq!(width.now(), FIRST);
    }
}
