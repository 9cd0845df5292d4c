//! Who may call, and when: one budget of requests for each service and token of the process.
//!
//! Callers of a kind that is held back wait in one line, the largest [`Weight`] first. One of
//! them, the head, sleeps until the next call may be made, and then lets the best go: weights
//! change while their calls wait.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};
use url::{Host, Url};

use super::{
    Call, Priority,
    allowance::Allowance,
    deadline::LastProgress,
    pace::{Pace, Refusal},
};
use crate::digest::Digest;

/// Entries that github.com lets a repository create in a minute.
const GITHUB_CREATIONS: u32 = 200;

/// Lookups that github.com answers to a repository in a minute.
const GITHUB_LOOKUPS: u32 = 1500;

/// The hosts of github.com's Actions services, the cache's among them, end so.
const GITHUB_HOSTS: &str = ".actions.githubusercontent.com";

/// Lanes that are kept: the next build is told what the service said to the last one. With more,
/// those that nobody uses now go.
const MAX_LANES: usize = 64;

/// How many calls of a kind a service takes in a minute, as the operator says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PerMinute {
    /// What is known of github.com; elsewhere as many as there are.
    #[default]
    Known,
    /// As many as there are.
    Unlimited,
    /// So many.
    Calls(u32),
}

/// The budgets that the operator set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Reservations.
    pub creations: PerMinute,
    /// Lookups.
    pub lookups: PerMinute,
}

impl Budgets {
    fn of(self, call: Call, github: bool) -> Option<u32> {
        let (said, known) = match call {
            Call::Reserve => (self.creations, GITHUB_CREATIONS),
            Call::Lookup => (self.lookups, GITHUB_LOOKUPS),
            _ => return None,
        };
        match said {
            PerMinute::Known => github.then_some(known),
            PerMinute::Unlimited => None,
            PerMinute::Calls(calls) => Some(calls),
        }
    }
}

/// The lanes of the process.
#[derive(Default)]
pub(super) struct Governor {
    budgets: Budgets,
    lanes: Mutex<HashMap<(String, Digest), Arc<Lane>>>,
}

impl Governor {
    pub fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            lanes: Mutex::default(),
        }
    }

    /// The lane to the service at `url` with the token of `subject`; both together, since a
    /// service counts for each of its users.
    pub fn lane(&self, url: &Url, subject: Digest) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        let key = (url.origin().ascii_serialization(), subject);
        if let Some(lane) = lanes.get(&key) {
            return Arc::clone(lane);
        }
        if lanes.len() >= MAX_LANES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let lane = Arc::new(Lane::new(self.budgets, is_github(url)));
        lanes.insert(key, Arc::clone(&lane));
        lane
    }
}

fn is_github(url: &Url) -> bool {
    matches!(url.host(), Some(Host::Domain(name)) if name.ends_with(GITHUB_HOSTS))
}

/// The way to one service with one token: a line of callers for each kind of call.
pub(super) struct Lane {
    lines: HashMap<Call, Line>,
    /// When bytes of uploads last moved.
    pub last_progress: Arc<LastProgress>,
}

/// Why a call was not let through in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TooLate {
    /// How long it would have to wait at least, from now on.
    pub wait: Duration,
    /// Why calls are held back.
    pub reason: String,
}

impl Lane {
    pub fn new(budgets: Budgets, github: bool) -> Self {
        let now = Instant::now();
        let line = |call| (call, Line::new(Pace::new(budgets.of(call, github), now)));
        Self {
            lines: Call::ALL.into_iter().map(line).collect(),
            last_progress: Arc::default(),
        }
    }

    /// Waits until a call may be made; when that was is the answer. A wait that would end after
    /// `deadline` is not begun. `waiting` is told how long the wait will be at least, and why.
    pub async fn pass<W>(
        &self,
        call: Call,
        weight: &Priority,
        deadline: Option<Instant>,
        waiting: impl FnOnce(Duration, &str) -> W,
    ) -> Result<Instant, TooLate> {
        let line = self.line(call);
        let now = Instant::now();
        let place = match line.enter(weight, now) {
            Entered::Served => return Ok(now),
            Entered::Waits(place) => place,
        };
        let due = line.due(weight, now);
        let reason = lock(&line.0).pace.reason(now);
        if deadline.is_some_and(|deadline| due > deadline) {
            return Err(too_late(due, now, reason));
        }
        let _shown = waiting(due.saturating_duration_since(now), &reason);
        let Some(end) = deadline else {
            return place.served(None).await;
        };
        let served = timeout_at(end, place.served(deadline)).await;
        served.unwrap_or_else(|_| {
            let now = Instant::now();
            Err(too_late(line.due(weight, now), now, reason))
        })
    }

    /// Notes what the service says is left of its own budget. The REST API has one for all calls.
    pub fn told(&self, call: Call, now: Instant, allowance: Allowance) {
        let calls: &[Call] = match call {
            Call::List | Call::Delete => &[Call::List, Call::Delete],
            _ => &[call],
        };
        for call in calls {
            lock(&self.line(*call).0).pace.told(now, allowance);
        }
    }

    /// Notes that a call was refused.
    pub fn refused(&self, call: Call, made: Instant, refusal: Refusal) {
        let mut state = lock(&self.line(call).0);
        state.pace.refused(made, Instant::now(), refusal);
    }

    /// Notes that a call was not refused.
    pub fn served(&self, call: Call, made: Instant) {
        lock(&self.line(call).0).pace.served(made);
    }

    fn line(&self, call: Call) -> &Line {
        self.lines
            .get(&call)
            .expect("there is a line for every call")
    }
}

/// Callers of one kind.
struct Line(Mutex<State>);

struct State {
    pace: Pace,
    last_id: u64,
    waiting: BTreeMap<u64, Waiter>,
}

struct Waiter {
    weight: Priority,
    wake: Arc<Notify>,
}

/// A place in the line, left by dropping it.
struct Place<'a> {
    line: &'a Line,
    id: u64,
    wake: Arc<Notify>,
}

enum Entered<'a> {
    Served,
    Waits(Place<'a>),
}

impl Line {
    fn new(pace: Pace) -> Self {
        Self(Mutex::new(State {
            pace,
            last_id: 0,
            waiting: BTreeMap::new(),
        }))
    }

    fn enter(&self, weight: &Priority, now: Instant) -> Entered<'_> {
        let mut state = lock(&self.0);
        let first = weight.is_first();
        if state.waiting.is_empty() && state.pace.next(now, first) <= now {
            state.pace.take(now);
            return Entered::Served;
        }
        state.last_id += 1;
        let id = state.last_id;
        let wake = Arc::new(Notify::new());
        let waiter = Waiter {
            weight: weight.clone(),
            wake: Arc::clone(&wake),
        };
        state.waiting.insert(id, waiter);
        if state.best() == Some(id) {
            // The head; what goes first need not wait until the old one wakes.
            wake.notify_one();
        }
        let line = self;
        Entered::Waits(Place { line, id, wake })
    }

    /// When this caller would be served if it were the next.
    fn due(&self, weight: &Priority, now: Instant) -> Instant {
        lock(&self.0).pace.next(now, weight.is_first())
    }
}

fn too_late(due: Instant, now: Instant, reason: String) -> TooLate {
    TooLate {
        wait: due.saturating_duration_since(now),
        reason,
    }
}

impl State {
    /// The largest weight, and of equal ones who came first.
    fn best(&self) -> Option<u64> {
        let weights = self.waiting.iter();
        weights
            .max_by_key(|(id, waiter)| (waiter.weight.get(), std::cmp::Reverse(**id)))
            .map(|(id, _)| *id)
    }

    fn is_first(&self, id: u64) -> bool {
        let waiter = self.waiting.get(&id);
        waiter.is_some_and(|waiter| waiter.weight.is_first())
    }

    /// Makes the best of those that wait the head.
    fn appoint(&self) {
        if let Some(waiter) = self.best().and_then(|best| self.waiting.get(&best)) {
            waiter.wake.notify_one();
        }
    }
}

impl Place<'_> {
    /// Waits for its turn: asleep until it is the head, then until the next call may be made. Who
    /// learns as the head that there is no turn before the `deadline` leaves at once.
    async fn served(self, deadline: Option<Instant>) -> Result<Instant, TooLate> {
        loop {
            self.wake.notified().await;
            // The head: if it leaves now, its place appoints the next one.
            loop {
                let now = Instant::now();
                let due = {
                    let mut state = lock(&self.line.0);
                    if state.best() != Some(self.id) {
                        state.appoint();
                        break;
                    }
                    let due = state.pace.next(now, state.is_first(self.id));
                    if due <= now {
                        state.pace.take(now);
                        return Ok(now);
                    }
                    if deadline.is_some_and(|deadline| due > deadline) {
                        return Err(too_late(due, now, state.pace.reason(now)));
                    }
                    due
                };
                sleep_until(due).await;
            }
        }
    }
}

impl Drop for Place<'_> {
    /// Whoever leaves may have been the head. One head too many does no harm: it finds the next
    /// call's time not come, or hands over.
    fn drop(&mut self) {
        let mut state = lock(&self.line.0);
        state.waiting.remove(&self.id);
        state.appoint();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
