//! Who may call, and when: one budget of requests for each service and token of the process.
//!
//! Callers of a kind that is held back wait in one queue, the largest [`Priority`] first. One of
//! them, the head, sleeps until the next call may be made, and then admits the best: priorities
//! change while their calls wait.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};
use url::{Host, Url};

use super::{
    Budgets, Call, Error, Kind, Priority,
    deadline::LastActivity,
    rate_limit_headers::RateLimitHeaders,
    throttle::{Reason, Refusal, Throttle},
};
use crate::digest::Digest;

/// The hosts of github.com's Actions services, the cache's among them, end so.
const GITHUB_HOSTS: &str = ".actions.githubusercontent.com";

/// github.com's REST API.
const GITHUB_API: &str = "api.github.com";

/// Limiters that are kept: the next build is told what the service said to the last one. With more,
/// those that nobody uses now go.
const MAX_LIMITERS: usize = 64;

/// The limiters of the process.
#[derive(Default)]
pub(super) struct RateLimiters {
    budgets: Budgets,
    limiters: Mutex<HashMap<(String, Digest), Arc<RateLimiter>>>,
}

impl RateLimiters {
    pub fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            limiters: Mutex::default(),
        }
    }

    /// The limiter for the service at `url` with the token of `subject`; both together, since a
    /// service counts for each of its users.
    pub fn limiter(&self, url: &Url, subject: Digest) -> Arc<RateLimiter> {
        let mut limiters = self.limiters.lock();
        let key = (url.origin().ascii_serialization(), subject);
        if let Some(limiter) = limiters.get(&key) {
            return Arc::clone(limiter);
        }
        if limiters.len() >= MAX_LIMITERS {
            limiters.retain(|_, limiter| Arc::strong_count(limiter) > 1);
        }
        let limiter = Arc::new(RateLimiter::new(self.budgets, is_github(url)));
        limiters.insert(key, Arc::clone(&limiter));
        limiter
    }
}

fn is_github(url: &Url) -> bool {
    matches!(url.host(), Some(Host::Domain(name)) if name == GITHUB_API || name.ends_with(GITHUB_HOSTS))
}

/// Limits the calls to one service with one token: a queue of callers for each kind of call.
pub(super) struct RateLimiter {
    queues: HashMap<Call, Queue>,
    github: bool,
    /// When bytes of uploads last moved.
    pub last_activity: Arc<LastActivity>,
}

/// What came of an attempt, as far as it tells of the service's limits.
pub(super) struct Observed<'a> {
    /// When [`RateLimiter::acquire`] let it through.
    pub admitted: Instant,
    /// The limits that a good answer told, and when it came.
    pub headers: Option<(Instant, RateLimitHeaders)>,
    pub error: Option<&'a Error>,
    /// Between 0 and 1.
    pub jitter: f64,
}

/// Why a call was not let through in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TooLate {
    /// How long it would have to wait at least, from now on.
    pub wait: Duration,
    /// Why calls are held back.
    pub reason: Reason,
}

impl RateLimiter {
    pub fn new(budgets: Budgets, github: bool) -> Self {
        let now = Instant::now();
        let queue = |call| {
            (
                call,
                Queue::new(Throttle::new(budgets.per_minute(call, github), now)),
            )
        };
        Self {
            queues: Call::ALL.into_iter().map(queue).collect(),
            github,
            last_activity: Arc::default(),
        }
    }

    /// Whether the service is github.com's.
    pub fn is_github(&self) -> bool {
        self.github
    }

    /// Waits until a call may be made; when that was is the answer. A wait that would end after
    /// `deadline` is not begun. `waiting` is told how long the wait will be at least, and why.
    pub async fn acquire<W>(
        &self,
        call: Call,
        priority: &Priority,
        deadline: Option<Instant>,
        waiting: impl FnOnce(Duration, &Reason) -> W,
    ) -> Result<Instant, TooLate> {
        let queue = self.queue(call);
        let now = Instant::now();
        let ticket = match queue.enqueue(priority, now) {
            Admission::Now => return Ok(now),
            Admission::Queued(ticket) => ticket,
        };
        let due = queue.due(priority, now);
        let reason = queue.0.lock().throttle.reason(now);
        if deadline.is_some_and(|deadline| due > deadline) {
            return Err(too_late(due, now, reason));
        }
        let _shown = waiting(due.saturating_duration_since(now), &reason);
        let Some(end) = deadline else {
            return ticket.served(None).await;
        };
        let served = timeout_at(end, ticket.served(deadline)).await;
        served.unwrap_or_else(|_| {
            let now = Instant::now();
            Err(too_late(queue.due(priority, now), now, reason))
        })
    }

    /// Learns from the end of an attempt what the service said of its limits. Only attempts that
    /// reached it tell something.
    pub fn update(&self, call: Call, observed: &Observed<'_>) {
        if let Some((at, headers)) = observed.headers {
            self.note_headers(call, at, headers);
        }
        match observed.error {
            None => self.note_served(call, observed.admitted),
            Some(error) => match error.kind {
                Kind::Throttled(asked) => {
                    let refusal = Refusal {
                        asked,
                        jitter: observed.jitter,
                        message: error.message.clone(),
                    };
                    self.note_refused(call, observed.admitted, refusal);
                }
                Kind::Unreachable(_) => {}
                _ if error.kind.outcome_unknown() => {}
                _ => self.note_served(call, observed.admitted),
            },
        }
    }

    /// Notes what the service says is left of its own budget. The REST API has one for all calls.
    fn note_headers(&self, call: Call, at: Instant, headers: RateLimitHeaders) {
        let calls: &[Call] = match call {
            Call::List | Call::Delete => &[Call::List, Call::Delete],
            _ => &[call],
        };
        for call in calls {
            self.queue(*call).0.lock().throttle.update(at, headers);
        }
    }

    fn note_refused(&self, call: Call, admitted: Instant, refusal: Refusal) {
        let mut state = self.queue(call).0.lock();
        state.throttle.refused(admitted, Instant::now(), refusal);
    }

    fn note_served(&self, call: Call, admitted: Instant) {
        self.queue(call).0.lock().throttle.served(admitted);
    }

    fn queue(&self, call: Call) -> &Queue {
        self.queues
            .get(&call)
            .expect("there is a queue for every call")
    }
}

/// Callers of one kind.
struct Queue(Mutex<QueueState>);

struct QueueState {
    throttle: Throttle,
    last_id: u64,
    waiting: BTreeMap<u64, Waiter>,
}

struct Waiter {
    priority: Priority,
    wake: Arc<Notify>,
}

/// A place in the queue, given up by dropping it.
struct Ticket<'a> {
    queue: &'a Queue,
    id: u64,
    wake: Arc<Notify>,
}

enum Admission<'a> {
    Now,
    Queued(Ticket<'a>),
}

impl Queue {
    fn new(throttle: Throttle) -> Self {
        Self(Mutex::new(QueueState {
            throttle,
            last_id: 0,
            waiting: BTreeMap::new(),
        }))
    }

    fn enqueue(&self, priority: &Priority, now: Instant) -> Admission<'_> {
        let mut state = self.0.lock();
        let first = priority.is_first();
        if state.waiting.is_empty() && state.throttle.next(now, first) <= now {
            state.throttle.take(now);
            return Admission::Now;
        }
        state.last_id += 1;
        let id = state.last_id;
        let wake = Arc::new(Notify::new());
        let waiter = Waiter {
            priority: priority.clone(),
            wake: Arc::clone(&wake),
        };
        state.waiting.insert(id, waiter);
        if state.best() == Some(id) {
            // The head; what goes first need not wait until the old one wakes.
            wake.notify_one();
        }
        let queue = self;
        Admission::Queued(Ticket { queue, id, wake })
    }

    /// When this caller would be served if it were the next.
    fn due(&self, priority: &Priority, now: Instant) -> Instant {
        self.0.lock().throttle.next(now, priority.is_first())
    }
}

fn too_late(due: Instant, now: Instant, reason: Reason) -> TooLate {
    TooLate {
        wait: due.saturating_duration_since(now),
        reason,
    }
}

impl QueueState {
    /// The largest priority, and of equal ones who came first.
    fn best(&self) -> Option<u64> {
        let priorities = self.waiting.iter();
        priorities
            .max_by_key(|(id, waiter)| (waiter.priority.rank(), std::cmp::Reverse(**id)))
            .map(|(id, _)| *id)
    }

    fn is_first(&self, id: u64) -> bool {
        let waiter = self.waiting.get(&id);
        waiter.is_some_and(|waiter| waiter.priority.is_first())
    }

    /// Makes the best of those that wait the head.
    fn wake_best(&self) {
        if let Some(waiter) = self.best().and_then(|best| self.waiting.get(&best)) {
            waiter.wake.notify_one();
        }
    }
}

impl Ticket<'_> {
    /// Waits for its turn: asleep until it is the head, then until the next call may be made. Who
    /// learns as the head that there is no turn before the `deadline` leaves at once.
    async fn served(self, deadline: Option<Instant>) -> Result<Instant, TooLate> {
        loop {
            self.wake.notified().await;
            // The head: if it leaves now, its ticket wakes the next one.
            loop {
                let now = Instant::now();
                let due = {
                    let mut state = self.queue.0.lock();
                    if state.best() != Some(self.id) {
                        state.wake_best();
                        break;
                    }
                    let due = state.throttle.next(now, state.is_first(self.id));
                    if due <= now {
                        state.throttle.take(now);
                        return Ok(now);
                    }
                    if deadline.is_some_and(|deadline| due > deadline) {
                        return Err(too_late(due, now, state.throttle.reason(now)));
                    }
                    due
                };
                sleep_until(due).await;
            }
        }
    }
}

impl Drop for Ticket<'_> {
    /// Whoever leaves may have been the head. One head too many does no harm: it finds the next
    /// call's time not come, or hands over.
    fn drop(&mut self) {
        let mut state = self.queue.0.lock();
        state.waiting.remove(&self.id);
        state.wake_best();
    }
}

#[cfg(test)]
mod tests;
