//! When our own vertex is at work: clients count its seconds, so it starts with what happens and completes
//! after an idle time, as often as that comes.

use std::{collections::HashSet, time::Duration, time::SystemTime};

use prost_types::Timestamp;
use tokio::time::Instant;

/// The vertex completes when nothing is under way for so long. Layers that are fetched one after another
/// are one piece of work, and clients print a line at every end.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Its last piece of work.
#[derive(Default)]
pub(super) struct CacheVertex {
    started: Option<Timestamp>,
    completed: Option<Timestamp>,
    /// Its statuses that are not done.
    running: HashSet<String>,
    /// When something happened last, as people read it and on the clock.
    last: Option<(SystemTime, Instant)>,
    /// The revision with which it started or completed.
    changed: u64,
}

impl CacheVertex {
    /// Something has happened that belongs to it.
    pub fn record_event(&mut self, revision: u64) {
        let now = SystemTime::now();
        self.last = Some((now, Instant::now()));
        if self.started.is_none() || self.completed.is_some() {
            self.started = Some(now.into());
            self.completed = None;
            self.changed = revision;
        }
    }

    /// Whether a status of it is under way.
    pub fn set_running(&mut self, status: &str, running: bool) {
        if running {
            self.running.insert(status.to_owned());
        } else {
            self.running.remove(status);
        }
    }

    /// When it is to complete if nothing more happens. None: it has not started, has completed, or works.
    pub fn idle_deadline(&self) -> Option<Instant> {
        let (_, last) = self.last.filter(|_| self.is_open())?;
        self.running.is_empty().then_some(last + IDLE_TIMEOUT)
    }

    /// Completes it, at its last event or now if something is still under way.
    pub fn complete(&mut self, revision: u64) {
        if !self.is_open() {
            return;
        }
        let now = SystemTime::now();
        let last = self.last.map_or(now, |(last, _)| last);
        let end = if self.running.is_empty() { last } else { now };
        self.completed = Some(end.into());
        self.changed = revision;
    }

    /// When it started and completed; None if it never started.
    pub fn times(&self) -> Option<(Timestamp, Option<Timestamp>)> {
        Some((self.started?, self.completed))
    }

    /// True if it started or completed after that revision.
    pub fn changed_after(&self, seen: u64) -> bool {
        self.changed > seen
    }

    /// True if it has started and not completed.
    pub fn is_open(&self) -> bool {
        self.started.is_some() && self.completed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_in_a_quiet_time_and_begins_again() {
        let mut row = CacheVertex::default();
        assert!(row.times().is_none() && row.idle_deadline().is_none());
        row.record_event(1);
        row.set_running("a", true);
        let first = row.times().unwrap().0;
        assert_eq!(row.idle_deadline(), None, "a status of it is under way");
        row.record_event(2);
        row.set_running("a", false);
        assert_eq!(row.idle_deadline(), Some(Instant::now() + IDLE_TIMEOUT));
        assert!(row.changed_after(0) && !row.changed_after(1));
        row.complete(3);
        assert!(row.changed_after(2) && row.idle_deadline().is_none());
        let (started, completed) = row.times().unwrap();
        assert!(started == first && completed.is_some());
        row.record_event(4);
        assert_eq!(row.times().unwrap().1, None);
        assert!(row.changed_after(3));
    }
}
