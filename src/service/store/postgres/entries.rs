//! Single entries.

use std::collections::HashSet;

use deadpool_postgres::Client;
use tokio_postgres::Error;

use super::rows::{self, columns, decode, entry, lock_repository, namespace_of};
use crate::service::store::{
    entry_store::{Committed, Entry, EntryName},
    extent::Extent,
};

/// How many entries are read at once of all that were committed.
pub(super) const PAGE: i64 = 10_000;

const BY_NAME: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries e WHERE e.namespace = $1 AND e.key = $2"
);

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM entries e WHERE e.id = $1");

const CONTENT: &str = concat!(
    "SELECT ",
    columns!(),
    ", c.extents FROM entries e JOIN contents c ON c.id = e.content_id WHERE e.id = $1"
);

/// An index is the newest of its kind when it comes.
const INSERT: &str = "INSERT INTO entries \
     (id, namespace, repository, scope, version, key, size, stored, created_at, accessed_at, \
      index_base, newest_index, content_id) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11::text IS NOT NULL, $12)";

/// Another entry may have brought it.
const INSERT_CONTENT: &str =
    "INSERT INTO contents (id, extents) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";

const DELETE: &str = concat!(
    lock_repository!(),
    "DELETE FROM entries e USING locked WHERE e.id = locked.id RETURNING e.content_id"
);

const END_RESERVATION: &str =
    "DELETE FROM reservations WHERE namespace = $1 AND key = $2 AND id = $3";

/// One statement, so one moment: an upload is an entry from the moment on at which it has no reservation any more.
const NEEDED: &str = "SELECT content_id FROM entries WHERE content_id = ANY ($1) \
     UNION ALL SELECT id FROM reservations WHERE id = ANY ($1) \
     UNION ALL SELECT id FROM released_contents WHERE id = ANY ($1)";

/// Those of `ids` that are an entry's or a reservation's, or that may still be read.
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
    Ok(Some((entry(&row)?, decode(row.try_get(10)?))))
}

pub(super) async fn committed(client: &mut Client, after: i64) -> Result<Vec<Committed>, Error> {
    let sql =
        "SELECT seq, id, content_id, stored FROM entries WHERE seq > $1 ORDER BY seq LIMIT $2";
    let page = client.prepare_cached(sql).await?;
    let rows = client.query(&page, &[&after, &PAGE]).await?;
    rows.iter().map(rows::committed).collect()
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
            &entry.content,
        ],
    )
    .await?;
    let insert = both.prepare_cached(INSERT_CONTENT).await?;
    both.execute(&insert, &[&entry.content, &extents]).await?;
    both.commit().await?;
    Ok(true)
}

pub(super) async fn delete(client: &mut Client, id: i64) -> Result<Option<i64>, Error> {
    let delete = client.prepare_cached(DELETE).await?;
    let deleted = client.query_opt(&delete, &[&id]).await?;
    deleted.map(|row| row.try_get(0)).transpose()
}

pub(super) async fn ping(client: &mut Client) -> Result<(), Error> {
    client.simple_query("SELECT 1").await.map(drop)
}
