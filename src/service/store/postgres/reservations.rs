//! The names of uploads in progress.
//!
//! What a process has reserved is its own for as long as its lease runs (see `leases`); after that whoever wants a name may
//! take it, and the upload that had it cannot be committed.

use deadpool_postgres::Client;
use tokio_postgres::Error;

use super::rows::namespace_of;
use crate::service::store::entry_store::EntryName;

/// Nothing is written where a reservation is in force that is not known to be stale. The row is
/// locked until the end of the transaction, so of many who reserve one name at once each sees what the one before it
/// has done.
const RESERVE: &str = "INSERT INTO reservations (namespace, key, id, owner) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (namespace, key) DO UPDATE SET id = excluded.id, owner = excluded.owner \
     WHERE reservations.id = ANY ($5) OR NOT EXISTS (SELECT FROM instances i \
         WHERE i.id = reservations.owner AND i.expires_at > clock_timestamp())";

const IS_ENTRY: &str = "SELECT FROM entries WHERE namespace = $1 AND key = $2";

/// What is reserved for whom.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) name: EntryName,
    pub(super) id: i64,
    pub(super) owner: i64,
}

/// Takes a name for an upload: false if an entry or a reservation has it.
pub(super) async fn reserve(
    client: &mut Client,
    reservation: Reservation,
    stale: Vec<i64>,
) -> Result<bool, Error> {
    let Reservation { name, id, owner } = reservation;
    let namespace = namespace_of(&name);
    let both = client.transaction().await?;
    let reserve = both.prepare_cached(RESERVE).await?;
    let reserved = both
        .execute(&reserve, &[&namespace, &name.key, &id, &owner, &stale])
        .await?;
    if reserved == 0 {
        both.rollback().await?;
        return Ok(false);
    }
    // A statement of its own, which sees an entry that was committed while the first one waited.
    let is_entry = both.prepare_cached(IS_ENTRY).await?;
    let entry = both.query_opt(&is_entry, &[&namespace, &name.key]).await?;
    if entry.is_some() {
        both.rollback().await?;
        return Ok(false);
    }
    both.commit().await?;
    Ok(true)
}

/// The upload that has a name reserved.
pub(super) async fn reserved_by(
    client: &mut Client,
    name: EntryName,
) -> Result<Option<i64>, Error> {
    let sql = "SELECT id FROM reservations WHERE namespace = $1 AND key = $2";
    let by_name = client.prepare_cached(sql).await?;
    let namespace = namespace_of(&name);
    let row = client.query_opt(&by_name, &[&namespace, &name.key]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Frees the names of uploads, where they have any.
pub(super) async fn release(client: &mut Client, ids: Vec<i64>) -> Result<(), Error> {
    let sql = "DELETE FROM reservations WHERE id = ANY ($1)";
    let release = client.prepare_cached(sql).await?;
    client.execute(&release, &[&ids]).await.map(drop)
}
