//! Shows in the build's log that calls wait, for how long, and why.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;

use super::report::{Event, Reporter, Transfer, TransferKey, TransferState};
use crate::actions::{Call, Observer, WaitGuard};

/// Shorter waits are not worth a row.
const SHORTEST_SHOWN: Duration = Duration::from_secs(1);

/// The waits of one job: a row for each kind of call, however many calls of it wait.
pub(super) struct WaitRows {
    reporter: Arc<dyn Reporter>,
    rows: Mutex<HashMap<Call, SharedWaitRow>>,
}

impl WaitRows {
    pub fn new(reporter: &Arc<dyn Reporter>) -> Self {
        Self {
            reporter: Arc::clone(reporter),
            rows: Mutex::default(),
        }
    }
}

impl Observer for WaitRows {
    fn waiting(&self, call: Call, wait: Duration, why: &str) -> WaitGuard {
        if wait < SHORTEST_SHOWN {
            return None;
        }
        let mut rows = self.rows.lock();
        let name = || {
            format!(
                "waiting {:.1} s to {}: {why}",
                wait.as_secs_f64(),
                call.name()
            )
        };
        let row = rows.entry(call).or_default().show(&self.reporter, name);
        Some(Box::new(row))
    }
}

/// A row that several may need at once: it is shown once, and lasts as long as one of them waits.
#[derive(Default)]
pub(super) struct SharedWaitRow(Mutex<Weak<WaitRow>>);

impl SharedWaitRow {
    /// The row that is shown, or the one with this name.
    pub fn show(
        &self,
        reporter: &Arc<dyn Reporter>,
        name: impl FnOnce() -> String,
    ) -> Arc<WaitRow> {
        let mut shown = self.0.lock();
        shown.upgrade().unwrap_or_else(|| {
            let row = Arc::new(WaitRow::new(reporter, name()));
            *shown = Arc::downgrade(&row);
            row
        })
    }
}

/// A row that lasts as long as the wait.
pub(super) struct WaitRow {
    reporter: Arc<dyn Reporter>,
    name: String,
}

impl WaitRow {
    /// Begins to show it.
    pub fn new(reporter: &Arc<dyn Reporter>, name: String) -> Self {
        let row = Self {
            reporter: Arc::clone(reporter),
            name,
        };
        row.report(TransferState::Running);
        row
    }

    fn report(&self, state: TransferState) {
        self.reporter.report(Event::Transfer(Transfer {
            key: TransferKey::Wait(self.name.clone()),
            current: 0,
            total: 0,
            state,
        }));
    }
}

impl Drop for WaitRow {
    fn drop(&mut self) {
        self.report(TransferState::Done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Messages(Mutex<Vec<(String, TransferState)>>);

    impl Reporter for Messages {
        fn report(&self, event: Event) {
            if let Event::Transfer(row) = event {
                self.0.lock().push((row.key.to_string(), row.state));
            }
        }
    }

    #[test]
    fn one_row_lasts_as_long_as_calls_of_a_kind_wait() {
        let messages = Arc::new(Messages::default());
        let reporter = Arc::clone(&messages) as Arc<dyn Reporter>;
        let waits = WaitRows::new(&reporter);
        let long = Duration::from_secs(12);
        assert!(
            waits
                .waiting(Call::Lookup, Duration::from_millis(999), "x")
                .is_none()
        );
        let first = waits.waiting(Call::Reserve, long, "too many");
        let second = waits.waiting(Call::Reserve, long * 2, "too many");
        drop(first);
        let name = "waiting 12.0 s to reserve: too many".to_owned();
        assert_eq!(*messages.0.lock(), [(name.clone(), TransferState::Running)]);
        drop(second);
        assert_eq!(messages.0.lock()[1..], [(name, TransferState::Done)]);
    }
}
