//! How often a repository may reserve keys and look entries up, as GitHub counts. Each process counts what comes to it.

use std::{collections::HashMap, num::NonZeroU32};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::{
    api_error::{ApiError, ErrorKind},
    clock::Clock,
};

/// GitHub counts by the minute.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// How many requests of one repository are answered in a minute; `None` is no limit. On github.com there are 200
/// reservations and 1,500 lookups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Reservations of keys.
    pub reservations: Option<NonZeroU32>,
    /// Lookups of entries.
    pub lookups: Option<NonZeroU32>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    Reservation,
    Lookup,
}

/// Counts requests.
pub(super) struct RateLimiter {
    limits: RateLimits,
    clock: Clock,
    windows: Mutex<HashMap<(Counted, String), Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    begun: Timestamp,
    requests: u32,
}

impl RateLimiter {
    /// A limiter that has counted nothing yet.
    pub(super) fn new(limits: RateLimits, clock: Clock) -> Self {
        Self {
            limits,
            clock,
            windows: Mutex::default(),
        }
    }

    /// Counts a request of a repository, or refuses it until the minute is over.
    pub(super) fn admit(&self, counted: Counted, repository: &str) -> Result<(), ApiError> {
        let (limit, name) = match counted {
            Counted::Reservation => (self.limits.reservations, "reservations"),
            Counted::Lookup => (self.limits.lookups, "lookups"),
        };
        let Some(limit) = limit else { return Ok(()) };
        let now = (self.clock)();
        let mut windows = self.windows.lock();
        let window = windows.entry((counted, repository.to_owned()));
        let window = window.or_insert(Window::at(now));
        if !window.contains(now) {
            *window = Window::at(now);
        }
        if window.requests >= limit.get() {
            let message = format!(
                "{limit} {name} of this repository were answered in this minute: try again later"
            );
            let seconds = window.seconds_left(now);
            return Err(ApiError::new(ErrorKind::RateLimited { seconds }, message));
        }
        window.requests += 1;
        Ok(())
    }
}

impl Window {
    fn at(begun: Timestamp) -> Self {
        Self { begun, requests: 0 }
    }

    /// False before its begin, too: the clock was set back.
    fn contains(self, now: Timestamp) -> bool {
        let passed = now.duration_since(self.begun);
        !passed.is_negative() && passed < WINDOW
    }

    /// Whole seconds until it is over: at least one.
    fn seconds_left(self, now: Timestamp) -> u64 {
        let left = WINDOW - now.duration_since(self.begun);
        u64::try_from(left.as_secs()).unwrap_or(0) + u64::from(left.subsec_nanos() > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    };

    use super::*;

    #[test]
    fn each_repository_has_its_own_minute_for_each_kind_of_request() {
        let now = Arc::new(AtomicI64::new(1_800_000_000_500));
        let clock = {
            let now = Arc::clone(&now);
            move || Timestamp::from_millisecond(now.load(Ordering::Relaxed)).unwrap()
        };
        let limits = RateLimits {
            reservations: NonZeroU32::new(2),
            lookups: NonZeroU32::new(1),
        };
        let limiter = RateLimiter::new(limits, Arc::new(clock));
        let admit = |counted, repository: &str| limiter.admit(counted, repository);
        let refused = |counted, repository: &str| {
            let refusal = limiter.admit(counted, repository);
            refusal.unwrap_err().kind()
        };
        admit(Counted::Reservation, "o/r").unwrap();
        now.fetch_add(20_000, Ordering::Relaxed);
        admit(Counted::Reservation, "o/r").unwrap();
        now.fetch_add(300, Ordering::Relaxed);
        let wait = ErrorKind::RateLimited { seconds: 40 };
        assert_eq!(refused(Counted::Reservation, "o/r"), wait);
        admit(Counted::Reservation, "o/s").unwrap();
        admit(Counted::Lookup, "o/r").unwrap();
        let wait = ErrorKind::RateLimited { seconds: 60 };
        assert_eq!(refused(Counted::Lookup, "o/r"), wait);
        now.fetch_add(39_700, Ordering::Relaxed);
        admit(Counted::Reservation, "o/r").unwrap();
        now.fetch_add(-3_600_000, Ordering::Relaxed);
        admit(Counted::Lookup, "o/r").unwrap();
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let clock: Clock = Arc::new(|| Timestamp::UNIX_EPOCH);
        let limiter = RateLimiter::new(RateLimits::default(), clock);
        for _ in 0..10_000 {
            limiter.admit(Counted::Lookup, "o/r").unwrap();
        }
        assert!(limiter.windows.lock().is_empty());
    }
}
