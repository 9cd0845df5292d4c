//! What is remembered of services that cannot be reached: a circuit breaker for each origin.
//!
//! A service that is down would cost each call of each build its retries. So the first failure to
//! connect begins an [`Outage`], within which calls are made again for a grace that all callers
//! share. After it the circuit is open: calls fail at once with the words of the first failure, for
//! [`OUTAGE_TIME`] at most. Now and then each client may send a probe meanwhile, and any answer closes
//! the circuit.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, timeout},
};

use super::{Call, Error, Kind, NoConnection};

/// How long an outage is remembered before calls are made as if it had never been.
pub const OUTAGE_TIME: Duration = Duration::from_mins(1);

/// How long calls to a service that this client has not reached yet are repeated: long enough for a
/// service that is being restarted, short enough to cost a build no more than two seconds.
const FIRST_GRACE: Duration = Duration::from_millis(1500);

/// The longest wait between these attempts: the second that a restart takes is met by four.
const FIRST_GRACE_WAIT: Duration = Duration::from_millis(300);

/// The same in the middle of a build that has reached the service: it is alive, and there is
/// something to lose. All attempts of one call take up to 7.5 s.
const GRACE: Duration = Duration::from_secs(10);

/// How long a probe may take. A build waits for it, and what is dead is mostly known in an instant.
/// A probe that changes something has the time of any such call: a reservation that is given up
/// half-way keeps its key.
const PROBE: Duration = Duration::from_millis(250);

/// How long a client leaves an origin alone after its probe. Its build may go on for long, and the
/// service be back before it exports.
const NEXT_PROBE: Duration = Duration::from_secs(5);

/// Origins that are remembered: a service and its blob stores are a few. With more, those without
/// an outage go.
const MAX_ORIGINS: usize = 256;

/// The circuit breakers of the process, by origin.
#[derive(Default)]
pub(super) struct CircuitBreakers(Mutex<HashMap<String, Arc<CircuitBreaker>>>);

/// Knows whether one scheme, host and port can be reached.
#[derive(Default)]
pub(super) struct CircuitBreaker {
    state: Mutex<State>,
    /// Held by the call that probes; the others wait for what it finds.
    probing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    /// When it last answered.
    reached: Option<Instant>,
    outage: Option<Outage>,
    /// How many probes have come to an end.
    probes: u64,
}

/// No connection can be made.
#[derive(Debug, Clone)]
struct Outage {
    since: Instant,
    cause: NoConnection,
    message: String,
    /// A client that has never reached the service has made all its attempts.
    given_up: bool,
}

/// What the breakers need to know of the client that calls.
#[derive(Debug)]
pub(super) struct CallerHistory {
    /// When the client was made: a service that has answered since is alive.
    since: Instant,
    /// When it sent its last probe, to whatever origin.
    probed: Mutex<Option<Instant>>,
}

impl Default for CallerHistory {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            probed: Mutex::default(),
        }
    }
}

impl CallerHistory {
    /// Takes the right to probe now.
    fn may_probe(&self) -> bool {
        let mut probed = self.probed.lock();
        let may = probed.is_none_or(|at| at.elapsed() >= NEXT_PROBE);
        if may {
            *probed = Some(Instant::now());
        }
        may
    }
}

/// How a call may be made.
enum Admission {
    /// As ever.
    Free,
    /// As the probe, until the guard is dropped.
    Probe(OwnedMutexGuard<()>, Outage),
}

impl State {
    /// The outage, if it lasts and is not too old to be believed.
    fn outage(&mut self) -> Option<&Outage> {
        self.outage
            .take_if(|outage| outage.since.elapsed() >= OUTAGE_TIME);
        self.outage.as_ref()
    }

    /// How much longer a caller may repeat its calls. `None`: there is no outage.
    fn grace(&mut self, caller: &CallerHistory) -> Option<Duration> {
        let served = self.has_served(caller);
        let outage = self.outage()?;
        let grace = if served {
            GRACE
        } else if outage.given_up || !outage.cause.may_pass() {
            Duration::ZERO
        } else {
            FIRST_GRACE
        };
        Some(grace.saturating_sub(outage.since.elapsed()))
    }

    fn has_served(&self, caller: &CallerHistory) -> bool {
        self.reached.is_some_and(|at| at >= caller.since)
    }

    /// The outage, if it is to be believed at once.
    fn open(&mut self, caller: &CallerHistory) -> Option<Outage> {
        let is_open = self.grace(caller)?.is_zero();
        self.outage.clone().filter(|_| is_open)
    }
}

impl CircuitBreaker {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Whether a call may be made; the outage if it may not.
    async fn admit(&self, caller: &CallerHistory) -> Result<Admission, Outage> {
        let probes = {
            let mut state = self.lock();
            if state.open(caller).is_none() {
                return Ok(Admission::Free);
            }
            state.probes
        };
        let guard = Arc::clone(&self.probing).lock_owned().await;
        let mut state = self.lock();
        let Some(outage) = state.open(caller) else {
            return Ok(Admission::Free);
        };
        if state.probes != probes || !caller.may_probe() {
            return Err(outage);
        }
        Ok(Admission::Probe(guard, outage))
    }

    /// How long a call that failed to connect waits before it is made again, given how long it
    /// would. `None`: it is not made again.
    pub fn wait(&self, caller: &CallerHistory, wait: Option<Duration>) -> Option<Duration> {
        let mut state = self.lock();
        let Some(left) = state.grace(caller) else {
            // It has been reached meanwhile.
            return wait;
        };
        let served = state.has_served(caller);
        let wait = wait.map(|wait| {
            if served {
                wait
            } else {
                wait.min(FIRST_GRACE_WAIT)
            }
        });
        let wait = wait.filter(|wait| *wait <= left);
        if let (None, false, Some(outage)) = (wait, served, &mut state.outage) {
            outage.given_up = true;
        }
        wait
    }

    /// Sends a request to this `origin`, unless it is known not to be reachable.
    pub async fn send<T>(
        &self,
        caller: &CallerHistory,
        call: Call,
        origin: &str,
        sending: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let remembered = |outage: Outage| {
            let kind = Kind::Unreachable(outage.cause);
            Error::new(kind, call, origin.to_owned(), outage.message)
        };
        let (outcome, probing) = match self.admit(caller).await.map_err(&remembered)? {
            Admission::Free => (sending.await, None),
            Admission::Probe(guard, outage) if call.changes_nothing() => {
                let found = timeout(PROBE, sending).await;
                let found = found.unwrap_or_else(|_| Err(remembered(outage)));
                (found, Some(guard))
            }
            Admission::Probe(guard, _) => (sending.await, Some(guard)),
        };
        self.note(outcome.as_ref().err());
        if probing.is_some() {
            self.lock().probes += 1;
        }
        outcome
    }

    /// Sends a request whatever is known, and notes what comes of it.
    pub async fn send_anyway<T>(
        &self,
        sending: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let outcome = sending.await;
        self.note(outcome.as_ref().err());
        outcome
    }

    /// Notes what a call has come to.
    fn note(&self, error: Option<&Error>) {
        let mut state = self.lock();
        match error.map(|error| (&error.kind, error)) {
            Some((&Kind::Unreachable(cause), error)) => {
                if state.outage().is_none() {
                    let since = Instant::now();
                    let message = error.message.clone();
                    tracing::warn!(origin = error.origin, words = message, "cannot be reached");
                    state.outage = Some(Outage {
                        since,
                        cause,
                        message,
                        given_up: false,
                    });
                }
            }
            // They tell neither that it is there nor that it is not.
            Some((Kind::Transport | Kind::Timeout | Kind::Source, _)) => {}
            _ => {
                state.reached = Some(Instant::now());
                state.outage = None;
            }
        }
    }
}

impl CircuitBreakers {
    /// The origins that are remembered, and of each whether there is an outage.
    pub fn states(&self) -> Vec<(String, bool)> {
        let breakers = self.0.lock();
        let states = breakers
            .iter()
            .map(|(origin, breaker)| (origin.clone(), breaker.lock().outage().is_some()));
        states.collect()
    }

    /// The breaker of an origin.
    pub fn breaker(&self, origin: &str) -> Arc<CircuitBreaker> {
        let mut breakers = self.0.lock();
        if let Some(breaker) = breakers.get(origin) {
            return Arc::clone(breaker);
        }
        if breakers.len() >= MAX_ORIGINS {
            breakers.retain(|_, breaker| breaker.lock().outage().is_some());
        }
        if breakers.len() >= MAX_ORIGINS {
            breakers.clear();
        }
        let breaker = Arc::<CircuitBreaker>::default();
        breakers.insert(origin.to_owned(), Arc::clone(&breaker));
        breaker
    }
}

#[cfg(test)]
mod tests;
