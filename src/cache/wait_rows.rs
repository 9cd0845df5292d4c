//! Counts the calls of a job, and shows in the build's log that they wait, for how long, and why.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    meter::JobMeter,
    report::{Event, Reporter, Wait},
    summary::WaitCause,
};
use crate::actions::{Call, Hold, Observer, WaitGuard};

/// Shorter waits are not worth a row.
const SHORTEST_SHOWN: Duration = Duration::from_secs(1);

/// The calls and waits of one job: a row for each kind of call, however many calls of it wait.
pub(super) struct WaitRows {
    reporter: Arc<dyn Reporter>,
    meter: Arc<JobMeter>,
    rows: Mutex<HashMap<(Call, Hold), SharedWaitRow>>,
}

impl WaitRows {
    pub fn new(reporter: &Arc<dyn Reporter>, meter: &Arc<JobMeter>) -> Self {
        Self {
            reporter: Arc::clone(reporter),
            meter: Arc::clone(meter),
            rows: Mutex::default(),
        }
    }
}

impl Observer for WaitRows {
    fn calling(&self, _: Call) {
        self.meter.count_call();
    }

    fn waiting(&self, call: Call, hold: Hold, wait: Duration, why: &str) -> WaitGuard {
        let time = self.meter.wait(hold.into());
        if wait < SHORTEST_SHOWN {
            return Some(Box::new(time));
        }
        let ends = Instant::now() + wait;
        let begin = || Wait {
            text: format!("waiting to {}: {why}", call.name()),
            cause: hold.into(),
            ends: Some(ends),
            over: false,
        };
        let mut rows = self.rows.lock();
        let row = rows
            .entry((call, hold))
            .or_default()
            .show(&self.reporter, begin);
        row.extend(ends);
        Some(Box::new((time, row)))
    }
}

/// A row that several may need at once: it is shown once, and lasts as long as one of them waits.
#[derive(Default)]
pub(super) struct SharedWaitRow(Mutex<Weak<WaitRow>>);

impl SharedWaitRow {
    /// The row that is shown, or the one that `begin` describes.
    pub fn show(&self, reporter: &Arc<dyn Reporter>, begin: impl FnOnce() -> Wait) -> Arc<WaitRow> {
        let mut shown = self.0.lock();
        shown.upgrade().unwrap_or_else(|| {
            let row = Arc::new(WaitRow::new(reporter, begin()));
            *shown = Arc::downgrade(&row);
            row
        })
    }
}

/// A row that lasts as long as the wait.
pub(super) struct WaitRow {
    reporter: Arc<dyn Reporter>,
    wait: Mutex<Wait>,
}

impl WaitRow {
    /// Begins to show it.
    pub fn new(reporter: &Arc<dyn Reporter>, wait: Wait) -> Self {
        reporter.report(Event::Wait(wait.clone()));
        Self {
            reporter: Arc::clone(reporter),
            wait: Mutex::new(wait),
        }
    }

    /// Begins to show a wait whose end nobody knows.
    pub fn open_ended(reporter: &Arc<dyn Reporter>, cause: WaitCause, text: String) -> Self {
        let wait = Wait {
            text,
            cause,
            ends: None,
            over: false,
        };
        Self::new(reporter, wait)
    }

    /// Somebody waits until `ends`, who may be the last one.
    fn extend(&self, ends: Instant) {
        let mut wait = self.wait.lock();
        if wait.ends.is_some_and(|known| known < ends) {
            wait.ends = Some(ends);
            self.reporter.report(Event::Wait(wait.clone()));
        }
    }
}

impl Drop for WaitRow {
    fn drop(&mut self) {
        let wait = self.wait.get_mut();
        wait.over = true;
        self.reporter.report(Event::Wait(wait.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GITHUB: Hold = Hold::RateLimit { github: true };

    #[derive(Default)]
    struct Messages(Mutex<Vec<Wait>>);

    impl Reporter for Messages {
        fn report(&self, event: Event) {
            if let Event::Wait(wait) = event {
                self.0.lock().push(wait);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_row_lasts_as_long_as_calls_of_a_kind_wait() {
        let messages = Arc::new(Messages::default());
        let reporter = Arc::clone(&messages) as Arc<dyn Reporter>;
        let meter = Arc::<JobMeter>::default();
        let waits = WaitRows::new(&reporter, &meter);
        let long = Duration::from_secs(12);
        let short = waits.waiting(Call::Lookup, GITHUB, Duration::from_millis(999), "x");
        assert!(messages.0.lock().is_empty());
        drop(short);
        let first = waits.waiting(Call::Reserve, GITHUB, long, "too many");
        let second = waits.waiting(Call::Reserve, GITHUB, long * 2, "too many");
        tokio::time::advance(long).await;
        drop(first);
        assert_eq!(
            messages.0.lock().len(),
            2,
            "it began, and its end was put off"
        );
        drop(second);
        let said = std::mem::take(&mut *messages.0.lock());
        assert!(
            said.iter()
                .all(|wait| wait.text == "waiting to reserve: too many")
        );
        assert_eq!(said[1].ends, said[0].ends.map(|ends| ends + long));
        assert_eq!(said.iter().filter(|wait| wait.over).count(), 1);
        assert_eq!(meter.usage().waited, long);
    }
}
