//! When our own row is at work: viewers count its seconds, so it is begun by what happens and ended
//! by a quiet time, as often as that comes.

use std::{collections::HashSet, time::Duration, time::SystemTime};

use prost_types::Timestamp;
use tokio::time::Instant;

/// The row ends when nothing is under way for so long. Layers that are fetched one after another
/// are one piece of work, and viewers print a line at every end.
const QUIET: Duration = Duration::from_secs(1);

/// The row's last piece of work.
#[derive(Default)]
pub struct OwnRow {
    started: Option<Timestamp>,
    completed: Option<Timestamp>,
    /// The rows below it that are not done.
    under_way: HashSet<String>,
    /// When something happened last, as people read it and on the clock.
    last: Option<(SystemTime, Instant)>,
    /// What the board's count was when it began or ended.
    changed: u64,
}

impl OwnRow {
    /// Something has happened below the row.
    pub fn event(&mut self, count: u64) {
        let now = SystemTime::now();
        self.last = Some((now, Instant::now()));
        if self.started.is_none() || self.completed.is_some() {
            self.started = Some(now.into());
            self.completed = None;
            self.changed = count;
        }
    }

    /// The state of a row below it.
    pub fn under_way(&mut self, id: &str, running: bool) {
        if running {
            self.under_way.insert(id.to_owned());
        } else {
            self.under_way.remove(id);
        }
    }

    /// When it is to end if nothing more happens. None: it has not begun, has ended, or works.
    pub fn quiet_at(&self) -> Option<Instant> {
        let (_, last) = self.last.filter(|_| self.is_open())?;
        self.under_way.is_empty().then_some(last + QUIET)
    }

    /// Ends it, at its last event or now if something is still under way.
    pub fn end(&mut self, count: u64) {
        if !self.is_open() {
            return;
        }
        let now = SystemTime::now();
        let last = self.last.map_or(now, |(last, _)| last);
        let end = if self.under_way.is_empty() { last } else { now };
        self.completed = Some(end.into());
        self.changed = count;
    }

    /// When it began and ended; None if it never began.
    pub fn times(&self) -> Option<(Timestamp, Option<Timestamp>)> {
        Some((self.started?, self.completed))
    }

    /// True if it began or ended after that count.
    pub fn changed_after(&self, seen: u64) -> bool {
        self.changed > seen
    }

    fn is_open(&self) -> bool {
        self.started.is_some() && self.completed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_in_a_quiet_time_and_begins_again() {
        let mut row = OwnRow::default();
        assert!(row.times().is_none() && row.quiet_at().is_none());
        row.event(1);
        row.under_way("a", true);
        let first = row.times().unwrap().0;
        assert_eq!(row.quiet_at(), None, "a row below it is under way");
        row.event(2);
        row.under_way("a", false);
        assert_eq!(row.quiet_at(), Some(Instant::now() + QUIET));
        assert!(row.changed_after(0) && !row.changed_after(1));
        row.end(3);
        assert!(row.changed_after(2) && row.quiet_at().is_none());
        let (started, completed) = row.times().unwrap();
        assert!(started == first && completed.is_some());
        row.event(4);
        assert_eq!(row.times().unwrap().1, None);
        assert!(row.changed_after(3));
    }
}
