//! How much entries take, and which of them nobody needs: the queries of the eviction.

use deadpool_postgres::Client;
use jiff::Timestamp;
use tokio_postgres::{Error, types::ToSql};

use super::rows::{columns, entry, lock_repository, time, usage as row_usage};
use crate::service::store::entry_store::{Entry, LeastRecentlyUsed, Totals, Usage};

/// A row that was found meanwhile is looked at again when its turn has come, and stays.
const DELETE_IF_IDLE: &str = concat!(
    lock_repository!(),
    "DELETE FROM entries e USING locked WHERE e.id = locked.id AND e.accessed_at <= $2 \
     RETURNING e.content_id"
);

/// In the order of an index: the first are found without a look at the others.
const IDLE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries e WHERE e.newest_index = $1 AND e.accessed_at < $2 \
     ORDER BY e.accessed_at, e.seq LIMIT $3"
);

const IDLE_OF_REPOSITORY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries e WHERE e.newest_index = $1 AND e.accessed_at < $2 AND e.repository = $4 \
     ORDER BY e.accessed_at, e.seq LIMIT $3"
);

const TOTALS: &str = "SELECT coalesce(sum(bytes), 0)::bigint, coalesce(sum(entries), 0)::bigint, \
     coalesce(max(bytes), 0)::bigint, coalesce(max(entries), 0)::bigint, \
     least((SELECT min(accessed_at) FROM entries WHERE newest_index), \
           (SELECT min(accessed_at) FROM entries WHERE NOT newest_index)), \
     coalesce(sum(shared_bytes), 0)::bigint \
     FROM repository_usage";

const USAGE: &str = "SELECT coalesce(sum(bytes), 0)::bigint, coalesce(sum(entries), 0)::bigint \
     FROM repository_usage";

pub(super) async fn least_recently_used(
    client: &mut Client,
    which: LeastRecentlyUsed,
    take: u32,
) -> Result<Vec<Entry>, Error> {
    let before = which.before.map_or(i64::MAX, Timestamp::as_millisecond);
    let take = i64::from(take);
    let rows = match &which.repository {
        None => {
            let idle = client.prepare_cached(IDLE).await?;
            let params: [&(dyn ToSql + Sync); 3] = [&which.newest_indexes, &before, &take];
            client.query(&idle, &params).await?
        }
        Some(repository) => {
            let idle = client.prepare_cached(IDLE_OF_REPOSITORY).await?;
            let params: [&(dyn ToSql + Sync); 4] =
                [&which.newest_indexes, &before, &take, repository];
            client.query(&idle, &params).await?
        }
    };
    rows.iter().map(entry).collect()
}

pub(super) async fn delete_unless_found(
    client: &mut Client,
    id: i64,
    accessed: i64,
) -> Result<Option<i64>, Error> {
    let delete = client.prepare_cached(DELETE_IF_IDLE).await?;
    let deleted = client.query_opt(&delete, &[&id, &accessed]).await?;
    deleted.map(|row| row.try_get(0)).transpose()
}

pub(super) async fn usage(client: &mut Client, repository: Option<String>) -> Result<Usage, Error> {
    let Some(repository) = repository else {
        let all = client.prepare_cached(USAGE).await?;
        return row_usage(&client.query_one(&all, &[]).await?, 0);
    };
    let sql = "SELECT bytes, entries FROM repository_usage WHERE repository = $1";
    let of_repository = client.prepare_cached(sql).await?;
    let row = client.query_opt(&of_repository, &[&repository]).await?;
    Ok(row
        .map(|row| row_usage(&row, 0))
        .transpose()?
        .unwrap_or_default())
}

pub(super) async fn repositories_above(
    client: &mut Client,
    usage: Usage,
) -> Result<Vec<String>, Error> {
    let sql = "SELECT repository FROM repository_usage WHERE bytes > $1 OR entries > $2";
    let above = client.prepare_cached(sql).await?;
    let [bytes, entries] = usage.signed();
    let rows = client.query(&above, &[&bytes, &entries]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

pub(super) async fn totals(client: &mut Client) -> Result<Totals, Error> {
    let totals = client.prepare_cached(TOTALS).await?;
    let row = client.query_one(&totals, &[]).await?;
    Ok(Totals {
        all: row_usage(&row, 0)?,
        shared_bytes: row.try_get::<_, i64>(5)?.cast_unsigned(),
        largest_repository: row_usage(&row, 2)?,
        least_recent: row.try_get::<_, Option<i64>>(4)?.map(time),
    })
}
