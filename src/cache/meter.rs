//! What one job counts as it runs.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    report::{Event, Reporter, Step, Transfer, TransferKey, TransferState, Wait},
    steps::BuildSteps,
    summary::{ServiceUsage, WaitCause},
};
use crate::digest::Digest;

/// The figures of one job. Layers are counted when they have arrived, whole.
#[derive(Default)]
pub(super) struct JobMeter {
    calls: AtomicU64,
    confirmed: AtomicUsize,
    gone: AtomicUsize,
    waiting: Arc<Stopwatch>,
    waits: Mutex<BTreeMap<WaitCause, Arc<Stopwatch>>>,
    /// The waits that the job tells of, by their texts.
    told: Mutex<HashMap<String, WaitTime>>,
    moving: Arc<Stopwatch>,
    layers: Mutex<Layers>,
}

#[derive(Default)]
struct Layers {
    under_way: HashMap<TransferKey, Running>,
    arrived: HashMap<Digest, u64>,
    asked: HashSet<Digest>,
}

/// One wait, which ends when this is dropped.
pub(super) type WaitTime = [Running; 2];

/// Layers that have arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FetchedLayers {
    pub layers: usize,
    pub bytes: u64,
    /// Those that nobody has asked for.
    pub unasked: usize,
    /// How long layers were under way.
    pub time: Duration,
}

impl JobMeter {
    /// A request is sent.
    pub fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// A wait begins, and ends with what is returned.
    pub fn wait(&self, cause: WaitCause) -> WaitTime {
        let mut waits = self.waits.lock();
        let of_cause = Arc::clone(waits.entry(cause).or_default());
        [of_cause.start(), self.waiting.start()]
    }

    /// A layer was looked for and is there.
    pub fn count_confirmed(&self) {
        self.confirmed.fetch_add(1, Ordering::Relaxed);
    }

    /// A layer was looked for and cannot be used.
    pub fn count_gone(&self) {
        self.gone.fetch_add(1, Ordering::Relaxed);
    }

    /// BuildKit has asked for a layer.
    pub fn note_asked(&self, digest: Digest) {
        self.layers.lock().asked.insert(digest);
    }

    /// A layer is here that no transfer has brought: the look at its first bytes has.
    pub fn note_arrived(&self, digest: Digest, bytes: u64) {
        self.layers.lock().arrived.insert(digest, bytes);
    }

    /// How many layers were found, and how many not.
    pub fn looked_for(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (count(&self.confirmed), count(&self.gone))
    }

    /// The layers that have arrived.
    pub fn arrived(&self) -> FetchedLayers {
        let layers = self.layers.lock();
        let unasked = (layers.arrived.keys()).filter(|digest| !layers.asked.contains(digest));
        FetchedLayers {
            layers: layers.arrived.len(),
            bytes: layers.arrived.values().sum(),
            unasked: unasked.count(),
            time: self.moving.total(),
        }
    }

    /// What was asked of the service.
    pub fn usage(&self) -> ServiceUsage {
        let waits = self.waits.lock();
        ServiceUsage {
            calls: self.calls.load(Ordering::Relaxed),
            waited: self.waiting.total(),
            waits: (waits.iter())
                .map(|(cause, watch)| (*cause, watch.total()))
                .collect(),
        }
    }

    fn note_wait(&self, wait: &Wait) {
        let mut told = self.told.lock();
        if wait.over {
            told.remove(&wait.text);
        } else if !told.contains_key(&wait.text) {
            told.insert(wait.text.clone(), self.wait(wait.cause));
        }
    }

    fn note_transfer(&self, transfer: &Transfer) {
        let mut layers = self.layers.lock();
        match transfer.state {
            TransferState::Running => {
                let running = || self.moving.start();
                (layers.under_way)
                    .entry(transfer.key)
                    .or_insert_with(running);
            }
            TransferState::Done => {
                layers.under_way.remove(&transfer.key);
                let (TransferKey::Upload(digest) | TransferKey::Download(digest)) = transfer.key;
                layers.arrived.insert(digest, transfer.total);
            }
            TransferState::Failed => drop(layers.under_way.remove(&transfer.key)),
        }
    }
}

/// Counts the transfers and waits that a job tells of, and passes all on.
pub(super) struct MeteredReporter {
    pub meter: Arc<JobMeter>,
    pub inner: Arc<dyn Reporter>,
}

#[async_trait]
impl Reporter for MeteredReporter {
    fn report(&self, event: Event) {
        match &event {
            Event::Transfer(transfer) => self.meter.note_transfer(transfer),
            Event::Wait(wait) => self.meter.note_wait(wait),
            _ => {}
        }
        self.inner.report(event);
    }

    async fn flush(&self) {
        self.inner.flush().await;
    }

    fn step_at(&self, moment: Timestamp) -> Option<Step> {
        self.inner.step_at(moment)
    }

    fn steps(&self) -> Option<Arc<BuildSteps>> {
        self.inner.steps()
    }
}

/// Runs while at least one holds it.
#[derive(Default)]
struct Stopwatch(Mutex<StopwatchState>);

#[derive(Default)]
struct StopwatchState {
    holders: usize,
    since: Option<Instant>,
    total: Duration,
}

/// Lets a stopwatch run.
pub(super) struct Running(Arc<Stopwatch>);

impl Stopwatch {
    fn start(self: &Arc<Self>) -> Running {
        let mut state = self.0.lock();
        state.holders += 1;
        state.since.get_or_insert_with(Instant::now);
        Running(Arc::clone(self))
    }

    fn total(&self) -> Duration {
        let state = self.0.lock();
        state.total + state.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.holders -= 1;
        if state.holders == 0
            && let Some(since) = state.since.take()
        {
            state.total += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn waits_at_the_same_time_are_one() {
        let meter = JobMeter::default();
        let github = WaitCause::RateLimit { github: true };
        let first = meter.wait(github);
        sleep(SECOND).await;
        let second = meter.wait(WaitCause::Retry);
        sleep(SECOND).await;
        drop(first);
        sleep(SECOND).await;
        drop(second);
        sleep(SECOND).await;
        let usage = meter.usage();
        assert_eq!(usage.waited, 3 * SECOND);
        assert_eq!(usage.waits[&github], 2 * SECOND);
        assert_eq!(usage.waits[&WaitCause::Retry], 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_layer_counts_once_and_only_if_it_arrives() {
        let meter = JobMeter::default();
        let tell = |name: &str, state| {
            meter.note_transfer(&Transfer {
                key: TransferKey::Download(Digest::sha256(name)),
                current: 0,
                total: 10,
                state,
            });
        };
        for state in [TransferState::Running, TransferState::Done] {
            tell("damaged the first time", state);
            sleep(SECOND).await;
            tell("damaged the first time", state);
        }
        tell("lost", TransferState::Running);
        sleep(SECOND).await;
        tell("lost", TransferState::Failed);
        meter.note_asked(Digest::sha256("damaged the first time"));
        meter.note_arrived(Digest::sha256("small"), 1);
        let arrived = FetchedLayers {
            layers: 2,
            bytes: 11,
            unasked: 1,
            time: 2 * SECOND,
        };
        assert_eq!(meter.arrived(), arrived);
    }
}
