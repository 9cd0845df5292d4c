//! Single entries.

use std::collections::HashSet;

use deadpool_postgres::Client;
use tokio_postgres::{Error, Row};

use super::rows::{columns, decode, entry, lock_repository, namespace_of};
use crate::service::store::{
    entry_store::{Committed, Entry, EntryName},
    extent::Extent,
};

/// How many entries are read at once of all that were committed.
const PAGE: i64 = 10_000;

const BY_NAME: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries e WHERE e.namespace = $1 AND e.key = $2"
);

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM entries e WHERE e.id = $1");

const CONTENT: &str = concat!(
    "SELECT ",
    columns!(),
    ", c.extents FROM entries e JOIN contents c ON c.id = e.id WHERE e.id = $1"
);

/// An index is the newest of its kind when it comes.
const INSERT: &str = "INSERT INTO entries \
     (id, namespace, repository, scope, version, key, size, stored, created_at, accessed_at, \
      index_base, newest_index) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11::text IS NOT NULL)";

const DELETE: &str = concat!(
    lock_repository!(),
    "DELETE FROM entries e USING locked WHERE e.id = locked.id"
);

const END_RESERVATION: &str =
    "DELETE FROM reservations WHERE namespace = $1 AND key = $2 AND id = $3";

/// One statement, so one moment: an upload is an entry from the moment on at which it has no reservation any more.
const NEEDED: &str = "SELECT id FROM entries WHERE id = ANY ($1) \
     UNION ALL SELECT id FROM reservations WHERE id = ANY ($1)";

/// Those of `ids` that are an entry's or a reservation's.
pub(super) async fn needed(client: &mut Client, ids: Vec<i64>) -> Result<HashSet<i64>, Error> {
    let needed = client.prepare_cached(NEEDED).await?;
    let rows = client.query(&needed, &[&ids]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

pub(super) async fn by_name(client: &mut Client, name: EntryName) -> Result<Option<Entry>, Error> {
    let by_name = client.prepare_cached(BY_NAME).await?;
    let namespace = namespace_of(&name);
    let row = client.query_opt(&by_name, &[&namespace, &name.key]).await?;
    row.as_ref().map(entry).transpose()
}

pub(super) async fn by_id(client: &mut Client, id: i64) -> Result<Option<Entry>, Error> {
    let by_id = client.prepare_cached(BY_ID).await?;
    let row = client.query_opt(&by_id, &[&id]).await?;
    row.as_ref().map(entry).transpose()
}

pub(super) async fn content(
    client: &mut Client,
    id: i64,
) -> Result<Option<(Entry, Vec<Extent>)>, Error> {
    let content = client.prepare_cached(CONTENT).await?;
    let Some(row) = client.query_opt(&content, &[&id]).await? else {
        return Ok(None);
    };
    Ok(Some((entry(&row)?, decode(row.try_get(9)?))))
}

pub(super) async fn committed(client: &mut Client, after: i64) -> Result<Vec<Committed>, Error> {
    let sql = "SELECT seq, id, stored FROM entries WHERE seq > $1 ORDER BY seq LIMIT $2";
    let committed = client.prepare_cached(sql).await?;
    let rows = client.query(&committed, &[&after, &PAGE]).await?;
    let committed = |row: &Row| {
        Ok(Committed {
            position: row.try_get(0)?,
            id: row.try_get(1)?,
            stored: row.try_get::<_, i64>(2)?.cast_unsigned(),
        })
    };
    rows.iter().map(committed).collect()
}

/// Adds an entry in place of its reservation. False if the upload has none any more. One that is there already is a
/// success: the answer to its commit was lost.
pub(super) async fn insert(
    client: &mut Client,
    entry: Entry,
    extents: Vec<u8>,
) -> Result<bool, Error> {
    let namespace = namespace_of(&entry.name);
    let both = client.transaction().await?;
    let end = both.prepare_cached(END_RESERVATION).await?;
    let ended = both
        .execute(&end, &[&namespace, &entry.name.key, &entry.id])
        .await?;
    if ended == 0 {
        both.rollback().await?;
        let there = by_id(client, entry.id).await?;
        return Ok(there.is_some_and(|there| there.name == entry.name));
    }
    let name = &entry.name;
    let insert = both.prepare_cached(INSERT).await?;
    both.execute(
        &insert,
        &[
            &entry.id,
            &namespace,
            &name.repository,
            &name.scope,
            &name.version,
            &name.key,
            &entry.size.cast_signed(),
            &entry.stored.cast_signed(),
            &entry.created.as_millisecond(),
            &entry.accessed.as_millisecond(),
            &name.index_base(),
        ],
    )
    .await?;
    let insert = "INSERT INTO contents (id, extents) VALUES ($1, $2)";
    let insert = both.prepare_cached(insert).await?;
    both.execute(&insert, &[&entry.id, &extents]).await?;
    both.commit().await?;
    Ok(true)
}

pub(super) async fn delete(client: &mut Client, id: i64) -> Result<bool, Error> {
    let delete = client.prepare_cached(DELETE).await?;
    Ok(client.execute(&delete, &[&id]).await? > 0)
}

pub(super) async fn ping(client: &mut Client) -> Result<(), Error> {
    client.simple_query("SELECT 1").await.map(drop)
}
