//! BuildKit's rows for exports of ours, of all builds of this process.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The newest so many are known: more than anybody looks back, and 100 KB.
const MAX_ROWS: usize = 1000;

/// The digests of these rows. BuildKit keeps what a build's log said and shows it in its history,
/// with the name of the exporter that stood in for `gha`.
#[derive(Default)]
pub struct ExportRows(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    known: HashSet<String>,
    by_age: VecDeque<String>,
}

impl ExportRows {
    /// Remembers one.
    pub fn add(&self, vertex: &str) {
        let mut rows = self.lock();
        if !rows.known.insert(vertex.to_owned()) {
            return;
        }
        rows.by_age.push_back(vertex.to_owned());
        if rows.by_age.len() > MAX_ROWS
            && let Some(oldest) = rows.by_age.pop_front()
        {
            rows.known.remove(&oldest);
        }
    }

    /// True if the row is known.
    pub fn contains(&self, vertex: &str) -> bool {
        self.lock().known.contains(vertex)
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_known() {
        let rows = ExportRows::default();
        for row in 0..=MAX_ROWS {
            rows.add(&row.to_string());
            rows.add(&row.to_string());
        }
        assert!(!rows.contains("0") && rows.contains("1"));
        assert!(rows.contains(&MAX_ROWS.to_string()));
    }
}
