//! The rows below vertices, each with the revision of its last change.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::proto::control::VertexStatus;

/// Rows of a build that are kept. One with more says the same many times.
const MAX_ROWS: usize = 1000;

/// A row that goes on changes so often at most: plain progress prints each change of a twentieth.
const INTERVAL: Duration = Duration::from_secs(1);

/// The rows of a build. A row is known by its vertex and its text, as clients know it.
#[derive(Default)]
pub(super) struct Rows(BTreeMap<(String, String), KeptRow>);

struct KeptRow {
    /// Of the change that is shown.
    revision: u64,
    status: VertexStatus,
    shown: Instant,
    /// What is shown is older than this.
    stale: bool,
}

/// What a row shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Its text, which clients take for its identity.
    pub text: String,
    pub current: u64,
    pub total: u64,
    pub done: bool,
}

impl Row {
    /// A row that says something and is done.
    pub fn note(text: String) -> Self {
        Self {
            text,
            current: 0,
            total: 0,
            done: true,
        }
    }
}

impl Rows {
    /// Shows a row below `vertex`. It has started with its first change: clients show no other.
    pub fn put(&mut self, revision: u64, vertex: &str, row: Row) {
        let (now, moment) = (Instant::now(), Some(SystemTime::now().into()));
        let key = (vertex.to_owned(), row.text);
        let known = self.0.get(&key);
        if known.is_none() && self.0.len() >= MAX_ROWS {
            return;
        }
        let status = VertexStatus {
            id: key.1.clone(),
            vertex: key.0.clone(),
            current: row.current.try_into().unwrap_or(i64::MAX),
            total: row.total.try_into().unwrap_or(i64::MAX),
            timestamp: moment,
            started: known.map_or(moment, |known| known.status.started),
            completed: moment.filter(|_| row.done),
            ..Default::default()
        };
        let soon = known.filter(|known| {
            let goes_on = !row.done && known.status.completed.is_none();
            goes_on && now < known.shown + INTERVAL
        });
        let kept = match soon {
            Some(known) => KeptRow {
                revision: known.revision,
                status,
                shown: known.shown,
                stale: true,
            },
            None => KeptRow {
                revision,
                status,
                shown: now,
                stale: false,
            },
        };
        self.0.insert(key, kept);
    }

    /// When a row is shown anew that has changed meanwhile.
    pub fn next(&self) -> Option<Instant> {
        let stale = self.0.values().filter(|row| row.stale);
        stale.map(|row| row.shown + INTERVAL).min()
    }

    /// Shows rows anew that have changed meanwhile. True if there are any.
    pub fn refresh(&mut self, revision: u64, now: Instant) -> bool {
        let mut any = false;
        let due = |row: &&mut KeptRow| row.stale && row.shown + INTERVAL <= now;
        for row in self.0.values_mut().filter(due) {
            (row.revision, row.shown, row.stale) = (revision, now, false);
            any = true;
        }
        any
    }

    /// Rows that changed after the revision `seen`, in the order of their changes.
    pub fn changed_since(&self, seen: u64) -> Vec<VertexStatus> {
        let mut rows: Vec<_> = self.0.values().filter(|row| row.revision > seen).collect();
        rows.sort_by_key(|row| row.revision);
        rows.into_iter().map(|row| row.status.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_row_that_goes_on_changes_once_a_second_and_ends_at_once() {
        let mut rows = Rows::default();
        let row = |current, done| Row {
            current,
            total: 9,
            done,
            ..Row::note("uploading layers".to_owned())
        };
        let shown = |rows: &Rows, seen| {
            let rows = rows.changed_since(seen);
            rows.first()
                .map(|row| (row.current, row.completed.is_some()))
        };
        let begin = Instant::now();
        rows.put(1, "v", row(1, false));
        rows.put(2, "v", row(2, false));
        assert_eq!(
            shown(&rows, 0),
            Some((2, false)),
            "who comes late sees the newest"
        );
        assert_eq!(shown(&rows, 1), None);
        assert_eq!(rows.next(), Some(begin + INTERVAL));
        assert!(!rows.refresh(3, begin));
        assert!(rows.refresh(3, begin + INTERVAL) && rows.next().is_none());
        assert_eq!(shown(&rows, 2), Some((2, false)));
        rows.put(4, "v", row(9, true));
        assert_eq!(shown(&rows, 3), Some((9, true)));
    }
}
