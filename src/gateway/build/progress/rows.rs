//! The rows below vertices, each with the revision of its last change.

use std::{collections::BTreeMap, time::SystemTime};

use crate::proto::control::VertexStatus;

/// Rows of a build that are kept. One with more says the same many times.
const MAX_ROWS: usize = 1000;

/// The rows of a build. A row is known by its vertex and its text, as clients know it.
#[derive(Default)]
pub(super) struct Rows(BTreeMap<(String, String), (u64, VertexStatus)>);

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
        let now = Some(SystemTime::now().into());
        let key = (vertex.to_owned(), row.text);
        let started = match self.0.get(&key) {
            Some((_, known)) => known.started,
            None if self.0.len() >= MAX_ROWS => return,
            None => now,
        };
        let status = VertexStatus {
            id: key.1.clone(),
            vertex: key.0.clone(),
            current: row.current.try_into().unwrap_or(i64::MAX),
            total: row.total.try_into().unwrap_or(i64::MAX),
            timestamp: now,
            started,
            completed: now.filter(|_| row.done),
            ..Default::default()
        };
        self.0.insert(key, (revision, status));
    }

    /// Rows that changed after the revision `seen`, in the order of their changes.
    pub fn changed_since(&self, seen: u64) -> Vec<VertexStatus> {
        let mut rows: Vec<_> = self.0.values().filter(|(at, _)| *at > seen).collect();
        rows.sort_unstable_by_key(|(at, _)| *at);
        rows.into_iter().map(|(_, row)| row.clone()).collect()
    }
}
