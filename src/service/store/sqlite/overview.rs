//! An [`OverviewStore`] in the same database. The queries block.

use async_trait::async_trait;
use rusqlite::{Connection, Row, named_params, params_from_iter};

use super::{
    SqliteStore,
    database::Database,
    rows::{columns, entry, time, usage},
};
use crate::service::store::{
    activity::{Activity, Day, RepositoryDay},
    entry_store::Entry,
    error::StoreError,
    overview_store::{OverviewStore, Replica, RepositoryUsage, ScopeUsage},
};

const ADD: &str = "INSERT INTO repository_days (repository, day, hits, misses, added_bytes, added_entries, \
     evicted_bytes, evicted_entries) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
     ON CONFLICT (repository, day) DO UPDATE SET hits = hits + excluded.hits, \
     misses = misses + excluded.misses, added_bytes = added_bytes + excluded.added_bytes, \
     added_entries = added_entries + excluded.added_entries, \
     evicted_bytes = evicted_bytes + excluded.evicted_bytes, \
     evicted_entries = evicted_entries + excluded.evicted_entries";

const DAYS: &str = "SELECT repository, day, hits, misses, added_bytes, added_entries, evicted_bytes, evicted_entries \
     FROM repository_days WHERE repository IN (SELECT value FROM json_each(?1)) AND day >= ?2 \
     ORDER BY repository, day";

/// All that are known, whether they have entries now or not.
macro_rules! known {
    () => {
        "(SELECT repository FROM repository_usage WHERE :only IS NULL OR repository = :only \
         UNION SELECT repository FROM repository_days WHERE :only IS NULL OR repository = :only)"
    };
}

const COUNT: &str = concat!("SELECT count(*) FROM ", known!());

const REPOSITORIES: &str = concat!(
    "SELECT k.repository, coalesce(u.bytes, 0) AS size, coalesce(u.entries, 0) FROM ",
    known!(),
    " AS k LEFT JOIN repository_usage u ON u.repository = k.repository \
     ORDER BY size DESC, k.repository LIMIT :take OFFSET :skip"
);

const SCOPES: &str = "SELECT scope, sum(size) AS bytes, count(*), max(created_at), count(*) OVER () \
     FROM entries WHERE repository = ?1 GROUP BY scope ORDER BY bytes DESC, scope LIMIT ?2";

const NUMBERED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries WHERE repository = ?1 \
     AND substr(key, 1, instr(key || '#', '#') - 1) IN (SELECT value FROM json_each(?2)) ORDER BY seq"
);

#[async_trait]
impl OverviewStore for SqliteStore {
    async fn note(&self, repository: &str, day: Day, activity: Activity) -> Result<(), StoreError> {
        if self.database().activity.add(repository, day, activity) {
            return self.query(Database::write_sums).await;
        }
        Ok(())
    }

    async fn write_activity(&self, oldest: Day) -> Result<(), StoreError> {
        self.query(move |database| {
            database.write_sums()?;
            database.write_lazily(|write| {
                let sql = "DELETE FROM repository_days WHERE day < ?1";
                write.execute(sql, [oldest.0]).map(drop)
            })
        })
        .await
    }

    async fn activity(
        &self,
        repositories: &[String],
        since: Day,
    ) -> Result<Vec<RepositoryDay>, StoreError> {
        let repositories = serde_json::json!(repositories).to_string();
        self.query(move |database| {
            database.write_sums()?;
            let read = database.read.get();
            let mut days = read.prepare_cached(DAYS)?;
            days.query_map((repositories, since.0), repository_day)?
                .collect()
        })
        .await
    }

    async fn repositories(
        &self,
        only: Option<&str>,
        skip: u64,
        take: u32,
    ) -> Result<(u64, Vec<RepositoryUsage>), StoreError> {
        let only = only.map(str::to_owned);
        self.query(move |database| {
            database.write_sums()?;
            let read = database.read.get();
            let count = named_params! { ":only": only };
            let count: i64 = read
                .prepare_cached(COUNT)?
                .query_row(count, |row| row.get(0))?;
            let skip = i64::try_from(skip).unwrap_or(i64::MAX);
            let page = named_params! { ":only": only, ":skip": skip, ":take": take };
            let mut repositories = read.prepare_cached(REPOSITORIES)?;
            let page = repositories.query_map(page, |row| {
                Ok(RepositoryUsage {
                    repository: row.get(0)?,
                    usage: usage(row, 1)?,
                })
            })?;
            Ok((count.cast_unsigned(), page.collect::<Result<_, _>>()?))
        })
        .await
    }

    async fn scopes(
        &self,
        repository: &str,
        take: u32,
    ) -> Result<(u64, Vec<ScopeUsage>), StoreError> {
        let repository = repository.to_owned();
        self.query(move |database| {
            let read = database.read.get();
            let mut scopes = read.prepare_cached(SCOPES)?;
            let mut count = 0_i64;
            let rows = scopes.query_map((repository, take), |row| {
                count = row.get(4)?;
                Ok(ScopeUsage {
                    scope: row.get(0)?,
                    usage: usage(row, 1)?,
                    newest: time(row, 3)?,
                })
            })?;
            let scopes = rows.collect::<Result<_, _>>()?;
            Ok((count.cast_unsigned(), scopes))
        })
        .await
    }

    async fn numbered(
        &self,
        repository: &str,
        keys: Vec<String>,
    ) -> Result<Vec<Entry>, StoreError> {
        let repository = repository.to_owned();
        let keys = serde_json::json!(keys).to_string();
        self.query(move |database| {
            let read = database.read.get();
            let mut numbered = read.prepare_cached(NUMBERED)?;
            numbered.query_map((repository, keys), entry)?.collect()
        })
        .await
    }

    /// There are no others.
    async fn replicas(&self) -> Result<Vec<Replica>, StoreError> {
        Ok(Vec::new())
    }
}

impl Database {
    /// Writes down what was noted of days.
    pub(super) fn write_sums(&self) -> rusqlite::Result<()> {
        let all = self.activity.take();
        if all.is_empty() {
            return Ok(());
        }
        let written = self.write_lazily(|write| add_days(write, &all));
        if written.is_err() {
            self.activity.put_back(all);
        }
        written
    }
}

fn add_days(write: &mut Connection, all: &[RepositoryDay]) -> rusqlite::Result<()> {
    let together = write.transaction()?;
    let mut add = together.prepare_cached(ADD)?;
    for day in all {
        let name = [&day.repository as &dyn rusqlite::ToSql, &day.day.0];
        let columns = day.activity.columns();
        let columns = columns.iter().map(|column| column as &dyn rusqlite::ToSql);
        add.execute(params_from_iter(name.into_iter().chain(columns)))?;
    }
    drop(add);
    together.commit()
}

fn repository_day(row: &Row<'_>) -> rusqlite::Result<RepositoryDay> {
    let mut columns = [0; 6];
    for (at, column) in columns.iter_mut().enumerate() {
        *column = row.get(2 + at)?;
    }
    Ok(RepositoryDay {
        repository: row.get(0)?,
        day: Day(row.get(1)?),
        activity: Activity::from_columns(columns),
    })
}
