//! When the next call of one kind may be made: pure arithmetic, state and time in, decision out.
//!
//! Two things hold calls back. A **budget** is known beforehand: half of it may be used at once,
//! the other half comes back over the minute, so that no minute sees more than the budget. A
//! **refusal** (429) closes the way for as long as the service asks, and after that callers come
//! one by one: each success shortens the gap between them until it is gone.

use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_mins(1);

/// The pause after a refusal that names none; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that the service does not ask for.
const LONGEST_PAUSE: Duration = MINUTE;

/// The longest pause that a service is believed to ask for: GitHub's longest limits are counted by
/// the hour. A slip of its clock must not end the use of the cache for the life of the process.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// The gap between calls after a refusal; doubled with each further one.
const FIRST_GAP: Duration = Duration::from_millis(250);

/// The widest gap: the pace of a service that has refused again and again.
const WIDEST_GAP: Duration = Duration::from_secs(4);

/// What a success leaves of the gap. A dozen calls after one refusal, in some two seconds, the
/// pace is the old one.
const RECOVERY: f64 = 0.8;

/// A gap below this is none.
const SMALLEST_GAP: Duration = Duration::from_millis(20);

/// By how much at most a pause is stretched, so that gateways that were refused together do not
/// return together.
const STRETCH: f64 = 0.1;

/// A refusal as the service said it.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// How long it asks to wait.
    pub asked: Option<Duration>,
    /// Between 0 and 1.
    pub jitter: f64,
    /// The service's own words.
    pub words: String,
}

/// The pace of one kind of call.
#[derive(Debug)]
pub(super) struct Pace {
    /// Calls in a minute; `None`: as many as there are.
    per_minute: Option<u32>,
    /// What of the budget can be used, at the time `filled`.
    level: f64,
    filled: Instant,
    /// No call before this, because of a refusal.
    opens: Instant,
    /// Between two calls, after a refusal.
    gap: Duration,
    last: Option<Instant>,
    /// Refusals since the last time that all went well.
    refusals: u32,
    words: String,
}

impl Pace {
    pub fn new(per_minute: Option<u32>, now: Instant) -> Self {
        Self {
            per_minute,
            level: burst(per_minute),
            filled: now,
            opens: now,
            gap: Duration::ZERO,
            last: None,
            refusals: 0,
            words: String::new(),
        }
    }

    /// When the next call may be made; not after `now` if it may be made at once.
    pub fn next(&mut self, now: Instant) -> Instant {
        let opens = self.opens.max(now);
        let spaced = self.last.map_or(opens, |last| last + self.gap);
        opens.max(spaced).max(self.affordable(now))
    }

    /// Notes that a call is made.
    pub fn take(&mut self, now: Instant) {
        self.fill(now);
        self.level -= 1.0;
        self.last = Some(now);
    }

    /// Notes that a call that was made at `made` was refused. Those that were made before the
    /// pause have learnt of the same refusal, so they prolong it at most.
    pub fn refused(&mut self, made: Instant, now: Instant, refusal: Refusal) {
        let fresh = self.refusals == 0 || made >= self.opens;
        if fresh {
            let doublings = self.refusals.min(16);
            self.refusals += 1;
            self.gap = (self.gap * 2).max(FIRST_GAP).min(WIDEST_GAP);
            self.words = refusal.words;
            let own = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
            self.close(now, refusal.asked.unwrap_or(own), refusal.jitter);
        } else if let Some(asked) = refusal.asked {
            self.close(now, asked, refusal.jitter);
        }
    }

    /// Notes that a call that was made at `made` was not refused.
    pub fn served(&mut self, made: Instant) {
        if self.refusals == 0 || made < self.opens {
            return;
        }
        self.gap = self.gap.mul_f64(RECOVERY);
        if self.gap < SMALLEST_GAP {
            self.gap = Duration::ZERO;
            self.refusals = 0;
        }
    }

    /// Why calls are held back.
    pub fn reason(&self) -> String {
        match (self.refusals, self.per_minute) {
            (0, Some(budget)) => format!("the service takes {budget} of these calls a minute"),
            (_, _) if self.words.is_empty() => {
                "the service takes no more of these calls now".into()
            }
            _ => format!("the service said: {}", self.words),
        }
    }

    fn close(&mut self, now: Instant, pause: Duration, jitter: f64) {
        let pause = pause.min(LONGEST_ASKED);
        let stretched = pause + pause.mul_f64(STRETCH * jitter);
        self.opens = self.opens.max(now + stretched);
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let refilled =
            self.level + passed.as_secs_f64() * burst(self.per_minute) / MINUTE.as_secs_f64();
        self.level = refilled.min(burst(self.per_minute));
        self.filled = self.filled.max(now);
    }

    fn affordable(&mut self, now: Instant) -> Instant {
        self.fill(now);
        let missing = 1.0 - self.level;
        if self.per_minute.is_none() || missing <= 0.0 {
            return now;
        }
        let share = missing / burst(self.per_minute);
        // A nanosecond more, lest rounding leave a fraction missing for ever.
        now + MINUTE.mul_f64(share) + Duration::from_nanos(1)
    }
}

/// Half of the budget, and one at least: what may be used at once, and what a minute brings back.
fn burst(per_minute: Option<u32>) -> f64 {
    per_minute.map_or(f64::MAX, |budget| (f64::from(budget) / 2.0).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(asked: Option<u64>) -> Refusal {
        Refusal {
            asked: asked.map(Duration::from_secs),
            jitter: 0.0,
            words: "slow down".to_owned(),
        }
    }

    /// Makes calls as fast as the pace lets, all of them served; when each was made.
    fn run(pace: &mut Pace, start: Instant, calls: usize) -> Vec<Duration> {
        let mut now = start;
        let mut made = Vec::new();
        for _ in 0..calls {
            now = pace.next(now);
            pace.take(now);
            pace.served(now);
            made.push(now - start);
        }
        made
    }

    #[test]
    fn no_minute_sees_more_than_the_budget() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(200), start);
        let made = run(&mut pace, start, 600);
        assert_eq!(made[99], Duration::ZERO);
        for (first, window) in made.iter().zip(made.windows(201)) {
            assert!(window[200] > *first + MINUTE, "{window:?}");
        }
        assert!(
            made[599] < Duration::from_mins(5) + Duration::from_secs(1),
            "{made:?}"
        );
    }

    #[test]
    fn without_a_budget_nothing_waits_until_a_refusal() {
        let start = Instant::now();
        let mut pace = Pace::new(None, start);
        assert_eq!(run(&mut pace, start, 5_000)[4_999], Duration::ZERO);
        pace.refused(start, start, refusal(Some(30)));
        let made = run(&mut pace, start, 40);
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
        let mut pace = Pace::new(None, start);
        for _ in 0..50 {
            pace.take(start);
        }
        let later = start + Duration::from_millis(10);
        for _ in 0..50 {
            pace.refused(start, later, refusal(None));
        }
        assert_eq!(pace.next(later), later + FIRST_PAUSE);
        assert_eq!(pace.gap, FIRST_GAP);
        // A success from before says nothing of the time after.
        pace.served(start);
        assert_eq!(pace.gap, FIRST_GAP);
        let opened = later + FIRST_PAUSE;
        pace.refused(opened, opened, refusal(None));
        assert_eq!(pace.next(opened), opened + FIRST_PAUSE * 2);
    }

    #[test]
    fn a_pause_without_end_ends_all_the_same() {
        let start = Instant::now();
        let mut pace = Pace::new(None, start);
        pace.refused(start, start, refusal(Some(u64::MAX)));
        assert_eq!(pace.next(start), start + LONGEST_ASKED);
    }
}
