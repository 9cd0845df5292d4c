//! When calls must be over. A deadline may be moved later while calls run under it, and one of an
//! upload does not fall while bytes move.

use std::{pin::pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

/// When bytes last moved to one service.
#[derive(Debug, Default)]
pub(crate) struct LastActivity(Mutex<Option<Instant>>);

impl LastActivity {
    /// Bytes move now.
    pub fn touch(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    fn last(&self) -> Option<Instant> {
        *self.0.lock()
    }
}

/// When calls must be over. Clones are one deadline.
#[derive(Debug, Clone)]
pub struct Deadline {
    end: Arc<Mutex<Instant>>,
    moving: Option<Moving>,
}

/// What puts the end off.
#[derive(Debug, Clone)]
struct Moving {
    last_activity: Arc<LastActivity>,
    /// For how long after the last byte.
    grace: Duration,
    /// At most.
    overtime: Duration,
}

/// Why a deadline has fallen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutReason {
    /// Its time was over, and nothing moved.
    TimeOver,
    /// It was put off, and then nothing moved for so long.
    StoodStill(Duration),
    /// It was put off by so much, which is the most.
    Overtime(Duration),
}

impl From<Instant> for Deadline {
    fn from(end: Instant) -> Self {
        Self {
            end: Arc::new(Mutex::new(end)),
            moving: None,
        }
    }
}

impl Deadline {
    /// Calls that begin by `end` and go on while bytes move: until nothing has for `grace`, and for
    /// `overtime` at most.
    pub(super) fn while_moving(
        end: Instant,
        last_activity: Arc<LastActivity>,
        grace: Duration,
        overtime: Duration,
    ) -> Self {
        let moving = Moving {
            last_activity,
            grace,
            overtime,
        };
        Self {
            moving: Some(moving),
            ..Self::from(end)
        }
    }

    /// Falls no earlier than `other`, which others wait for.
    pub fn extend(&self, other: &Self) {
        let later = other.set();
        let mut end = self.end.lock();
        *end = later.max(*end);
    }

    /// When it falls, as far as is known now.
    pub fn end(&self) -> Instant {
        let end = self.set();
        let Some(moving) = &self.moving else {
            return end;
        };
        let last = moving.last_activity.last();
        last.map_or(end, |last| {
            (last + moving.grace).min(end + moving.overtime).max(end)
        })
    }

    /// Why it has fallen, as far as is known now.
    pub fn reason(&self) -> TimeoutReason {
        let end = self.set();
        let Some(moving) = &self.moving else {
            return TimeoutReason::TimeOver;
        };
        let still = moving.last_activity.last().map(|last| last + moving.grace);
        match still.filter(|still| *still > end) {
            None => TimeoutReason::TimeOver,
            Some(still) if still < end + moving.overtime => TimeoutReason::StoodStill(moving.grace),
            Some(_) => TimeoutReason::Overtime(moving.overtime),
        }
    }

    /// Waits for something, at most until it falls.
    pub async fn bound<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        loop {
            let end = self.end();
            match timeout_at(end, &mut work).await {
                Ok(output) => return Some(output),
                Err(_) if self.end() > end => {}
                Err(_) => return None,
            }
        }
    }

    fn set(&self) -> Instant {
        *self.end.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_falls_when_the_latest_who_joined_has_no_time_left() {
        let begun = Instant::now();
        let deadline = Deadline::from(begun + 6 * SECOND);
        let joined = async {
            sleep(5 * SECOND).await;
            deadline.extend(&(begun + 60 * SECOND).into());
            deadline.extend(&(begun + 7 * SECOND).into());
            pending::<()>().await;
        };
        assert!(deadline.bound(joined).await.is_none());
        assert_eq!(begun.elapsed(), 60 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn it_falls_when_nothing_moves_any_more() {
        let (still, overtime) = (
            TimeoutReason::StoodStill(30 * SECOND),
            TimeoutReason::Overtime(100 * SECOND),
        );
        for (beats, expected, lapse) in [
            (0, 10, TimeoutReason::TimeOver),
            (3, 33, still),
            (15, 45, still),
            (500, 110, overtime),
        ] {
            let (begun, last_activity) = (Instant::now(), Arc::<LastActivity>::default());
            let (grace, overtime) = (30 * SECOND, 100 * SECOND);
            let end = begun + 10 * SECOND;
            let deadline = Deadline::while_moving(end, Arc::clone(&last_activity), grace, overtime);
            let moving = async {
                for _ in 0..beats {
                    sleep(SECOND).await;
                    last_activity.touch();
                }
                pending::<()>().await;
            };
            assert!(deadline.bound(moving).await.is_none());
            assert_eq!(begun.elapsed(), expected * SECOND, "{beats}");
            assert_eq!(deadline.reason(), lapse, "{beats}");
        }
    }
}
