//! An [`OverviewStore`] in the same database.

use async_trait::async_trait;
use deadpool_postgres::Client;
use futures_util::FutureExt as _;
use tokio_postgres::{Error, Row};

use super::{
    PostgresStore,
    rows::{columns, entry, time, usage},
};
use crate::service::store::{
    activity::{Activity, Day, RepositoryDay},
    entry_store::Entry,
    error::StoreError,
    overview_store::{OverviewStore, Replica, RepositoryUsage, ScopeUsage},
};

/// Rows come in the same order from all processes, so that no two wait for each other.
const ADD: &str = "INSERT INTO repository_days AS d (repository, day, hits, misses, added_bytes, added_entries, \
     evicted_bytes, evicted_entries) \
     SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], \
     $7::bigint[], $8::bigint[]) \
     ON CONFLICT (repository, day) DO UPDATE SET hits = d.hits + excluded.hits, \
     misses = d.misses + excluded.misses, added_bytes = d.added_bytes + excluded.added_bytes, \
     added_entries = d.added_entries + excluded.added_entries, \
     evicted_bytes = d.evicted_bytes + excluded.evicted_bytes, \
     evicted_entries = d.evicted_entries + excluded.evicted_entries";

const DAYS: &str = "SELECT repository, day, hits, misses, added_bytes, added_entries, evicted_bytes, evicted_entries \
     FROM repository_days WHERE repository = ANY ($1) AND day >= $2 ORDER BY repository, day";

/// All that are known, whether they have entries now or not.
macro_rules! known {
    () => {
        "(SELECT repository FROM repository_usage WHERE $1::text IS NULL OR repository = $1 \
         UNION SELECT repository FROM repository_days WHERE $1::text IS NULL OR repository = $1) AS k"
    };
}

const COUNT: &str = concat!("SELECT count(*) FROM ", known!());

const REPOSITORIES: &str = concat!(
    "SELECT k.repository, coalesce(u.bytes, 0) AS size, coalesce(u.entries, 0) FROM ",
    known!(),
    " LEFT JOIN repository_usage u ON u.repository = k.repository \
     ORDER BY size DESC, k.repository LIMIT $2 OFFSET $3"
);

const SCOPES: &str = "SELECT scope, sum(size)::bigint AS bytes, count(*), max(created_at), count(*) OVER () \
     FROM entries WHERE repository = $1 GROUP BY scope ORDER BY bytes DESC, scope LIMIT $2";

const NUMBERED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries e WHERE e.repository = $1 AND split_part(e.key, '#', 1) = ANY ($2) ORDER BY e.seq"
);

const REPLICAS: &str = "SELECT address, id = $1, \
     (SELECT count(*) FROM reservations r WHERE r.owner = i.id) \
     FROM instances i WHERE expires_at > clock_timestamp() ORDER BY id <> $1, address, id";

#[async_trait]
impl OverviewStore for PostgresStore {
    async fn note(&self, repository: &str, day: Day, activity: Activity) -> Result<(), StoreError> {
        if self.activity.add(repository, day, activity) {
            return self.write_sums().await;
        }
        Ok(())
    }

    async fn write_activity(&self, oldest: Day) -> Result<(), StoreError> {
        self.write_sums().await?;
        self.connections
            .run(move |client| forget(client, oldest).boxed())
            .await
    }

    async fn activity(
        &self,
        repositories: &[String],
        since: Day,
    ) -> Result<Vec<RepositoryDay>, StoreError> {
        self.write_sums().await?;
        let repositories = repositories.to_vec();
        self.connections
            .run(move |client| days(client, repositories, since).boxed())
            .await
    }

    async fn repositories(
        &self,
        only: Option<&str>,
        skip: u64,
        take: u32,
    ) -> Result<(u64, Vec<RepositoryUsage>), StoreError> {
        self.write_sums().await?;
        let only = only.map(str::to_owned);
        self.connections
            .run(move |client| repositories(client, only, skip, take).boxed())
            .await
    }

    async fn scopes(
        &self,
        repository: &str,
        take: u32,
    ) -> Result<(u64, Vec<ScopeUsage>), StoreError> {
        let repository = repository.to_owned();
        self.connections
            .run(move |client| scopes(client, repository, take).boxed())
            .await
    }

    async fn numbered(
        &self,
        repository: &str,
        keys: Vec<String>,
    ) -> Result<Vec<Entry>, StoreError> {
        let repository = repository.to_owned();
        self.connections
            .run(move |client| numbered(client, repository, keys).boxed())
            .await
    }

    async fn replicas(&self) -> Result<Vec<Replica>, StoreError> {
        let owner = self.owner;
        self.connections
            .run(move |client| replicas(client, owner).boxed())
            .await
    }
}

impl PostgresStore {
    /// Writes down what was noted of days.
    pub(super) async fn write_sums(&self) -> Result<(), StoreError> {
        let all = self.activity.take();
        if all.is_empty() {
            return Ok(());
        }
        let write = all.clone();
        let written = self
            .connections
            .run(move |client| add_days(client, write).boxed())
            .await;
        if written.is_err() {
            self.activity.put_back(all);
        }
        written
    }
}

async fn add_days(client: &mut Client, all: Vec<RepositoryDay>) -> Result<(), Error> {
    let (repositories, days): (Vec<String>, Vec<i64>) = all
        .iter()
        .map(|day| (day.repository.clone(), day.day.0))
        .unzip();
    let column =
        |at: usize| -> Vec<i64> { all.iter().map(|day| day.activity.columns()[at]).collect() };
    let add = client.prepare_cached(ADD).await?;
    let (hits, misses) = (column(0), column(1));
    let (added, new, evicted, gone) = (column(2), column(3), column(4), column(5));
    client
        .execute(
            &add,
            &[
                &repositories,
                &days,
                &hits,
                &misses,
                &added,
                &new,
                &evicted,
                &gone,
            ],
        )
        .await?;
    Ok(())
}

async fn forget(client: &mut Client, oldest: Day) -> Result<(), Error> {
    let sql = "DELETE FROM repository_days WHERE day < $1";
    let forget = client.prepare_cached(sql).await?;
    client.execute(&forget, &[&oldest.0]).await.map(drop)
}

async fn days(
    client: &mut Client,
    repositories: Vec<String>,
    since: Day,
) -> Result<Vec<RepositoryDay>, Error> {
    let days = client.prepare_cached(DAYS).await?;
    let rows = client.query(&days, &[&repositories, &since.0]).await?;
    rows.iter().map(repository_day).collect()
}

fn repository_day(row: &Row) -> Result<RepositoryDay, Error> {
    let mut columns = [0; 6];
    for (at, column) in columns.iter_mut().enumerate() {
        *column = row.try_get(2 + at)?;
    }
    Ok(RepositoryDay {
        repository: row.try_get(0)?,
        day: Day(row.try_get(1)?),
        activity: Activity::from_columns(columns),
    })
}

async fn repositories(
    client: &mut Client,
    only: Option<String>,
    skip: u64,
    take: u32,
) -> Result<(u64, Vec<RepositoryUsage>), Error> {
    let count = client.prepare_cached(COUNT).await?;
    let count: i64 = client.query_one(&count, &[&only]).await?.try_get(0)?;
    let (take, skip) = (i64::from(take), i64::try_from(skip).unwrap_or(i64::MAX));
    let page = client.prepare_cached(REPOSITORIES).await?;
    let rows = client.query(&page, &[&only, &take, &skip]).await?;
    let repository = |row: &Row| {
        Ok::<_, Error>(RepositoryUsage {
            repository: row.try_get(0)?,
            usage: usage(row, 1)?,
        })
    };
    let page = rows.iter().map(repository).collect::<Result<_, _>>()?;
    Ok((count.cast_unsigned(), page))
}

async fn scopes(
    client: &mut Client,
    repository: String,
    take: u32,
) -> Result<(u64, Vec<ScopeUsage>), Error> {
    let scopes = client.prepare_cached(SCOPES).await?;
    let rows = client
        .query(&scopes, &[&repository, &i64::from(take)])
        .await?;
    let count: Option<i64> = rows.first().map(|row| row.try_get(4)).transpose()?;
    let scope = |row: &Row| {
        Ok::<_, Error>(ScopeUsage {
            scope: row.try_get(0)?,
            usage: usage(row, 1)?,
            newest: time(row.try_get(3)?),
        })
    };
    let scopes = rows.iter().map(scope).collect::<Result<_, _>>()?;
    Ok((count.unwrap_or(0).cast_unsigned(), scopes))
}

async fn numbered(
    client: &mut Client,
    repository: String,
    keys: Vec<String>,
) -> Result<Vec<Entry>, Error> {
    let numbered = client.prepare_cached(NUMBERED).await?;
    let rows = client.query(&numbered, &[&repository, &keys]).await?;
    rows.iter().map(entry).collect()
}

async fn replicas(client: &mut Client, own: i64) -> Result<Vec<Replica>, Error> {
    let replicas = client.prepare_cached(REPLICAS).await?;
    let rows = client.query(&replicas, &[&own]).await?;
    let replica = |row: &Row| {
        Ok(Replica {
            address: row.try_get(0)?,
            own: row.try_get(1)?,
            uploads: row.try_get::<_, i64>(2)?.cast_unsigned(),
        })
    };
    rows.iter().map(replica).collect()
}
