//! How much entries take, and which of them nobody needs: the queries of the eviction. All block.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, named_params};

use super::{
    database::{Database, deleted},
    rows::{columns, entry, time, usage},
};
use crate::service::store::entry_store::{Entry, LeastRecentlyUsed, Totals, Usage};

/// In the order of an index: the first are found without a look at the others.
const IDLE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries WHERE newest_index = :newest AND accessed_at < :before \
     ORDER BY accessed_at, seq LIMIT :take"
);

const IDLE_OF_REPOSITORY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries WHERE repository = :repository AND newest_index = :newest \
     AND accessed_at < :before ORDER BY accessed_at, seq LIMIT :take"
);

const TOTALS: &str = "SELECT coalesce(sum(bytes), 0), coalesce(sum(entries), 0), \
     coalesce(max(bytes), 0), coalesce(max(entries), 0), \
     (SELECT min(at) FROM ( \
         SELECT min(accessed_at) AS at FROM entries WHERE newest_index = 0 \
         UNION ALL SELECT min(accessed_at) FROM entries WHERE newest_index = 1)), \
     coalesce(sum(shared_bytes), 0) \
     FROM repository_usage";

impl Database {
    pub(super) fn least_recently_used(
        &self,
        which: &LeastRecentlyUsed,
        take: u32,
    ) -> rusqlite::Result<Vec<Entry>> {
        // On a full disk this must work, to make room; what cannot be written is left out below.
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "times of access could not be noted");
        }
        let before = which.before.map_or(i64::MAX, Timestamp::as_millisecond);
        let newest = which.newest_indexes;
        let read = self.read.get();
        let mut rows: Vec<_> = match &which.repository {
            None => {
                let params = named_params! { ":newest": newest, ":before": before, ":take": take };
                let mut idle = read.prepare_cached(IDLE)?;
                idle.query_map(params, entry)?
                    .collect::<rusqlite::Result<_>>()?
            }
            Some(repository) => {
                let params = named_params! {
                    ":repository": repository,
                    ":newest": newest,
                    ":before": before,
                    ":take": take,
                };
                let mut idle = read.prepare_cached(IDLE_OF_REPOSITORY)?;
                idle.query_map(params, entry)?
                    .collect::<rusqlite::Result<_>>()?
            }
        };
        rows.retain(|entry| !self.touches.is_later(entry));
        Ok(rows)
    }

    pub(super) fn delete_unless_found(&self, entry: &Entry) -> rusqlite::Result<Option<i64>> {
        let write = self.write.lock();
        if self.touches.is_later(entry) {
            return Ok(None);
        }
        let sql = "DELETE FROM entries WHERE id = ?1 AND accessed_at <= ?2 RETURNING content_id";
        let idle = (entry.id, entry.accessed.as_millisecond());
        deleted(&write, sql, idle)
    }

    pub(super) fn usage(&self, repository: Option<&str>) -> rusqlite::Result<Usage> {
        let read = self.read.get();
        let Some(repository) = repository else {
            let sql =
                "SELECT coalesce(sum(bytes), 0), coalesce(sum(entries), 0) FROM repository_usage";
            return read.prepare_cached(sql)?.query_row([], |row| usage(row, 0));
        };
        let sql = "SELECT bytes, entries FROM repository_usage WHERE repository = ?1";
        let mut of_repository = read.prepare_cached(sql)?;
        let found = of_repository.query_row([repository], |row| usage(row, 0));
        Ok(found.optional()?.unwrap_or_default())
    }

    pub(super) fn repositories_above(&self, usage: Usage) -> rusqlite::Result<Vec<String>> {
        let read = self.read.get();
        let sql = "SELECT repository FROM repository_usage WHERE bytes > ?1 OR entries > ?2";
        let mut above = read.prepare_cached(sql)?;
        let [bytes, entries] = usage.signed();
        above
            .query_map((bytes, entries), |row| row.get(0))?
            .collect()
    }

    pub(super) fn totals(&self) -> rusqlite::Result<Totals> {
        let read = self.read.get();
        read.prepare_cached(TOTALS)?.query_row([], |row| {
            let least_recent = row.get::<_, Option<i64>>(4)?.map(|_| time(row, 4));
            Ok(Totals {
                all: usage(row, 0)?,
                shared_bytes: row.get::<_, i64>(5)?.cast_unsigned(),
                largest_repository: usage(row, 2)?,
                least_recent: least_recent.transpose()?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evictions run while the service is used: none may look at every entry, or sort them.
    #[test]
    fn the_first_are_found_without_a_look_at_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&dir.path().join("entries.db")).unwrap();
        let read = database.read.get();
        for sql in [IDLE, IDLE_OF_REPOSITORY, TOTALS] {
            let mut explained = read.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let nothing = vec![rusqlite::types::Null; explained.parameter_count()];
            let plan = explained.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3));
            let plan: Vec<String> = plan.unwrap().collect::<Result<_, _>>().unwrap();
            for step in &plan {
                assert!(!step.contains("SCAN entries"), "{plan:?}");
                assert!(!step.contains("TEMP B-TREE"), "{plan:?}");
            }
            assert!(plan.iter().any(|step| step.contains("INDEX entries_idle")));
        }
    }
}
