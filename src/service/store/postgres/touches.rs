//! When entries were found. That is written now and then, so that no lookup waits for a commit.

use std::collections::HashMap;

use deadpool_postgres::Client;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio_postgres::Error;

use crate::service::store::entry_store::Entry;

/// How many times of access wait to be written, at most.
const MAX_TOUCHES: usize = 1_000;

/// In the order of ids, so that two processes never wait for each other. Another process may have seen a later access.
const WRITE: &str = "WITH touched AS MATERIALIZED ( \
         SELECT e.id, t.at FROM entries e \
         JOIN unnest($1::bigint[], $2::bigint[]) AS t(id, at) ON e.id = t.id \
         ORDER BY e.id FOR NO KEY UPDATE OF e) \
     UPDATE entries e SET accessed_at = touched.at FROM touched \
     WHERE e.id = touched.id AND e.accessed_at < touched.at";

/// Milliseconds since 1970, by id.
pub(super) type Times = HashMap<i64, i64>;

/// Times of access that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Touches(Mutex<Times>);

impl Touches {
    /// Notes one. True if it is time to write them.
    pub(super) fn add(&self, id: i64, now: Timestamp) -> bool {
        let mut touched = self.0.lock();
        touched.insert(id, now.as_millisecond());
        touched.len() >= MAX_TOUCHES
    }

    /// All, which are not noted any more.
    pub(super) fn take(&self) -> Times {
        std::mem::take(&mut *self.0.lock())
    }

    /// Notes again what could not be written, for as long as there is room.
    pub(super) fn put_back(&self, all: Times) {
        let mut touched = self.0.lock();
        for (id, at) in all {
            if touched.len() < MAX_TOUCHES {
                touched.entry(id).or_insert(at);
            }
        }
    }

    /// Puts in the accesses that are noted and not written.
    pub(super) fn show(&self, entries: &mut [Entry]) {
        let touched = self.0.lock();
        for entry in entries {
            let at = touched.get(&entry.id);
            let at = at.and_then(|at| Timestamp::from_millisecond(*at).ok());
            entry.accessed = at.map_or(entry.accessed, |at| at.max(entry.accessed));
        }
    }
}

/// Writes all together.
pub(super) async fn write(client: &mut Client, all: Times) -> Result<(), Error> {
    let (ids, times): (Vec<i64>, Vec<i64>) = all.into_iter().unzip();
    let write = client.prepare_cached(WRITE).await?;
    client.execute(&write, &[&ids, &times]).await?;
    Ok(())
}
