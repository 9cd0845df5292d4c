//! When the next call of one kind may be made: pure arithmetic, state and time in, decision out.
//!
//! Three things hold calls back. A **budget** is known beforehand: no minute sees more calls than
//! that, and the last few are kept for what goes first. **Headers** say what the service says is
//! left of its own budget; once nothing is, calls wait until it is counted anew. A **refusal** (429)
//! stops all calls for as long as the service asks, and after that callers come one by one: each
//! success shortens the interval between them until it is gone.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::rate_limit_headers::RateLimitHeaders;
use crate::telemetry::WaitCause;

const MINUTE: Duration = Duration::from_mins(1);

/// One call in so many is kept for what goes first: an export that has used the budget up must not
/// wait a minute for its index, since its time may be over by then.
const KEPT_SHARE: u32 = 20;

/// The pause after a refusal that names none; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that the service does not ask for.
const LONGEST_PAUSE: Duration = MINUTE;

/// The longest pause that a service is believed to ask for: GitHub's longest limits are counted by
/// the hour. A slip of its clock must not end the use of the cache for the life of the process.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// The interval between calls after a refusal; doubled with each further one.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// The widest interval: the pace of a service that has refused again and again.
const WIDEST_INTERVAL: Duration = Duration::from_secs(4);

/// What a success leaves of the interval. A dozen calls after one refusal, in some two seconds, the
/// pace is the old one.
const RECOVERY: f64 = 0.8;

/// An interval below this is none.
const SMALLEST_INTERVAL: Duration = Duration::from_millis(20);

/// By how much at most a pause is stretched, so that gateways that were refused together do not
/// return together.
const STRETCH: f64 = 0.1;

/// Why a call is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    /// As the metrics count it.
    pub cause: WaitCause,
    /// In words for people.
    pub words: String,
}

/// A refusal as the service said it.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// How long it asks to wait.
    pub asked: Option<Duration>,
    /// Between 0 and 1.
    pub jitter: f64,
    /// The service's own words.
    pub message: String,
}

/// Holds back calls of one kind.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Calls in a minute; `None`: as many as there are.
    per_minute: Option<u32>,
    /// When the calls of the last minute were made, oldest first, where there is a budget.
    made: VecDeque<Instant>,
    /// How many calls the service will still answer, until when.
    allowed: Option<(u64, Instant)>,
    /// No call before this, because of a refusal.
    resumes_at: Instant,
    /// Between two calls, after a refusal.
    interval: Duration,
    last: Option<Instant>,
    /// Refusals since the last time that all went well.
    refusals: u32,
    message: String,
}

impl Throttle {
    pub fn new(per_minute: Option<u32>, now: Instant) -> Self {
        Self {
            per_minute,
            made: VecDeque::new(),
            allowed: None,
            resumes_at: now,
            interval: Duration::ZERO,
            last: None,
            refusals: 0,
            message: String::new(),
        }
    }

    /// When the next call may be made; not after `now` if it may be made at once. What goes `first`
    /// may use all of the budget.
    pub fn next(&self, now: Instant, first: bool) -> Instant {
        let resumes = self.resumes_at.max(now);
        let spaced = self.last.map_or(resumes, |last| last + self.interval);
        let allowed = match self.allowed {
            Some((0, reset)) => reset,
            _ => now,
        };
        resumes
            .max(spaced)
            .max(allowed)
            .max(self.within_budget(now, first))
    }

    /// Notes that a call is made.
    pub fn take(&mut self, now: Instant) {
        self.last = Some(now);
        if let Some((left, _)) = &mut self.allowed {
            *left = left.saturating_sub(1);
        }
        if self.per_minute.is_some() {
            while self.made.front().is_some_and(|made| *made + MINUTE < now) {
                self.made.pop_front();
            }
            self.made.push_back(now);
        }
    }

    /// Notes what the service says of its own budget.
    pub fn update(&mut self, now: Instant, headers: RateLimitHeaders) {
        let reset = now + headers.reset_after.min(LONGEST_ASKED);
        self.allowed = Some((headers.remaining, reset));
    }

    /// Notes that a call that was made at `made` was refused. Those that were made before the
    /// pause have learnt of the same refusal, so they prolong it at most.
    pub fn refused(&mut self, made: Instant, now: Instant, refusal: Refusal) {
        let fresh = self.refusals == 0 || made >= self.resumes_at;
        if fresh {
            let doublings = self.refusals.min(16);
            self.refusals += 1;
            self.interval = (self.interval * 2).max(FIRST_INTERVAL).min(WIDEST_INTERVAL);
            self.message = refusal.message;
            let own = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
            self.close(now, refusal.asked.unwrap_or(own), refusal.jitter);
        } else if let Some(asked) = refusal.asked {
            self.close(now, asked, refusal.jitter);
        }
    }

    /// Notes that a call that was made at `made` was not refused.
    pub fn served(&mut self, made: Instant) {
        if self.refusals == 0 || made < self.resumes_at {
            return;
        }
        self.interval = self.interval.mul_f64(RECOVERY);
        if self.interval < SMALLEST_INTERVAL {
            self.interval = Duration::ZERO;
            self.refusals = 0;
        }
    }

    /// Why calls are held back.
    pub fn reason(&self, now: Instant) -> Reason {
        let (cause, words) = match (self.allowed, self.refusals, self.per_minute) {
            (Some((0, reset)), _, _) if reset > now => {
                let words = "the service says that its limit of these calls is used up";
                (WaitCause::Quota, words.to_owned())
            }
            (_, 0, Some(budget)) => {
                let words = format!("the service takes {budget} of these calls a minute");
                (WaitCause::Budget, words)
            }
            _ if self.message.is_empty() => {
                let words = "the service takes no more of these calls now";
                (WaitCause::Refusal, words.to_owned())
            }
            _ => {
                let words = format!("the service said: {}", self.message);
                (WaitCause::Refusal, words)
            }
        };
        Reason { cause, words }
    }

    fn close(&mut self, now: Instant, pause: Duration, jitter: f64) {
        let pause = pause.min(LONGEST_ASKED);
        let stretched = pause + pause.mul_f64(STRETCH * jitter);
        self.resumes_at = self.resumes_at.max(now + stretched);
    }

    fn within_budget(&self, now: Instant, first: bool) -> Instant {
        let Some(budget) = self.per_minute else {
            return now;
        };
        let kept = if first {
            0
        } else {
            budget.div_ceil(KEPT_SHARE)
        };
        let usable = budget.saturating_sub(kept).max(1) as usize;
        // The call that must be more than a minute ago.
        match self.made.len().checked_sub(usable) {
            Some(at) => now.max(self.made[at] + MINUTE + Duration::from_nanos(1)),
            None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(asked: Option<u64>) -> Refusal {
        Refusal {
            asked: asked.map(Duration::from_secs),
            jitter: 0.0,
            message: "slow down".to_owned(),
        }
    }

    /// Makes calls as fast as it lets, all of them served; when each was made.
    fn run(throttle: &mut Throttle, start: Instant, calls: usize) -> Vec<Duration> {
        let mut now = start;
        let mut made = Vec::new();
        for _ in 0..calls {
            now = throttle.next(now, false);
            throttle.take(now);
            throttle.served(now);
            made.push(now - start);
        }
        made
    }

    #[test]
    fn no_minute_sees_more_than_the_budget_and_every_minute_as_many() {
        let start = Instant::now();
        let mut throttle = Throttle::new(Some(200), start);
        let made = run(&mut throttle, start, 760);
        for (first, window) in made.iter().zip(made.windows(191)) {
            assert!(window[190] > *first + MINUTE, "{window:?}");
        }
        assert_eq!(made[189], Duration::ZERO);
        assert!(made[759] < 3 * MINUTE + Duration::from_secs(1), "{made:?}");
        // What goes first has the rest, and no more.
        let now = start + made[759];
        for _ in 0..10 {
            assert_eq!(throttle.next(now, true), now);
            throttle.take(now);
        }
        assert!(throttle.next(now, true) > now);
    }

    #[test]
    fn the_smallest_budget_is_one_call_of_any_priority() {
        let start = Instant::now();
        let mut throttle = Throttle::new(Some(1), start);
        assert_eq!(throttle.next(start, false), start);
        throttle.take(start);
        assert!(throttle.next(start, true) > start + MINUTE);
    }

    #[test]
    fn what_the_service_says_is_left_counts_until_it_is_counted_anew() {
        let start = Instant::now();
        let mut throttle = Throttle::new(None, start);
        let said = |remaining, reset_after| RateLimitHeaders {
            remaining,
            reset_after,
        };
        throttle.update(start, said(2, MINUTE));
        assert_eq!(run(&mut throttle, start, 2)[1], Duration::ZERO);
        assert_eq!(throttle.next(start, true), start + MINUTE);
        let reason = throttle.reason(start);
        assert_eq!(reason.cause, WaitCause::Quota);
        assert!(reason.words.contains("used up"), "{reason:?}");
        let reset = start + MINUTE;
        assert_eq!(throttle.next(reset, false), reset);
        throttle.update(reset, said(0, Duration::MAX));
        assert_eq!(throttle.next(reset, false), reset + LONGEST_ASKED);
        throttle.update(reset, said(5_000, LONGEST_ASKED));
        assert_eq!(throttle.next(reset, false), reset);
    }

    #[test]
    fn without_a_budget_nothing_waits_until_a_refusal() {
        let start = Instant::now();
        let mut throttle = Throttle::new(None, start);
        assert_eq!(run(&mut throttle, start, 5_000)[4_999], Duration::ZERO);
        throttle.refused(start, start, refusal(Some(30)));
        let made = run(&mut throttle, start, 40);
        assert_eq!(made[0], Duration::from_secs(30));
        assert!(
            made[1] >= made[0] + Duration::from_millis(200),
            "they come one by one"
        );
        assert!(
            made[20] < made[0] + Duration::from_secs(3),
            "and faster with each success"
        );
        assert_eq!(made[39], made[20], "until the pace is the old one");
    }

    #[test]
    fn many_answers_to_one_flood_are_one_refusal() {
        let start = Instant::now();
        let mut throttle = Throttle::new(None, start);
        for _ in 0..50 {
            throttle.take(start);
        }
        let later = start + Duration::from_millis(10);
        for _ in 0..50 {
            throttle.refused(start, later, refusal(None));
        }
        assert_eq!(throttle.next(later, false), later + FIRST_PAUSE);
        assert_eq!(throttle.interval, FIRST_INTERVAL);
        // A success from before says nothing of the time after.
        throttle.served(start);
        assert_eq!(throttle.interval, FIRST_INTERVAL);
        let opened = later + FIRST_PAUSE;
        throttle.refused(opened, opened, refusal(None));
        assert_eq!(throttle.next(opened, false), opened + FIRST_PAUSE * 2);
    }

    #[test]
    fn an_endless_pause_is_cut_to_the_longest() {
        let start = Instant::now();
        let mut throttle = Throttle::new(None, start);
        throttle.refused(start, start, refusal(Some(u64::MAX)));
        assert_eq!(throttle.next(start, true), start + LONGEST_ASKED);
    }
}
