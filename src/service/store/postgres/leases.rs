//! Which processes are there: each holds a lease, which it renews, and says where others reach it.

use deadpool_postgres::Client;
use tokio_postgres::Error;

/// The lease is four times the interval of its renewals (`config::RENEW_INTERVAL` of the service).
const RENEW: &str = "INSERT INTO instances (id, expires_at, address, shares_contents) \
     VALUES ($1, clock_timestamp() + interval '60 seconds', $2, true) \
     ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at, address = excluded.address";

/// Who has not renewed for so long does not come back.
const FORGET: &str =
    "DELETE FROM instances WHERE expires_at < clock_timestamp() - interval '1 hour'";

const ADDRESS_OF: &str = "SELECT i.address FROM reservations r JOIN instances i ON i.id = r.owner \
     WHERE r.id = $1 AND i.id <> $2 AND i.expires_at > clock_timestamp() AND i.address IS NOT NULL";

const OTHERS: &str =
    "SELECT FROM instances WHERE id <> $1 AND expires_at > clock_timestamp() LIMIT 1";

/// Nothing is written where another collects.
const COLLECT: &str = "INSERT INTO collector (owner) VALUES ($1) \
     ON CONFLICT (only_row) DO UPDATE SET owner = excluded.owner \
     WHERE collector.owner = $1 OR NOT EXISTS (SELECT FROM instances i \
         WHERE i.id = collector.owner AND i.expires_at > clock_timestamp())";

const MAY_SHARE: &str = "SELECT NOT EXISTS (SELECT FROM instances \
     WHERE expires_at > clock_timestamp() AND NOT shares_contents)";

/// Whether `owner` collects for all, which it does for as long as its lease runs if nobody else does.
pub(super) async fn is_collector(client: &mut Client, owner: i64) -> Result<bool, Error> {
    let collect = client.prepare_cached(COLLECT).await?;
    Ok(client.execute(&collect, &[&owner]).await? > 0)
}

/// Whether no process is there that takes each content for that of one entry.
pub(super) async fn may_share(client: &mut Client) -> Result<bool, Error> {
    let may_share = client.prepare_cached(MAY_SHARE).await?;
    client.query_one(&may_share, &[]).await?.try_get(0)
}

/// Renews the lease of `owner`, and removes what those have left who are gone.
pub(super) async fn renew(
    client: &mut Client,
    owner: i64,
    address: Option<String>,
) -> Result<(), Error> {
    let renew = client.prepare_cached(RENEW).await?;
    client.execute(&renew, &[&owner, &address]).await?;
    let sql = "DELETE FROM reservations WHERE owner NOT IN (SELECT id FROM instances)";
    let forget = client.prepare_cached(FORGET).await?;
    client.execute(&forget, &[]).await?;
    let clean = client.prepare_cached(sql).await?;
    client.execute(&clean, &[]).await.map(drop)
}

/// Where the process is reached that has reserved for an upload, if that is not `own` and its lease runs.
pub(super) async fn address_of(
    client: &mut Client,
    id: i64,
    own: i64,
) -> Result<Option<String>, Error> {
    let address_of = client.prepare_cached(ADDRESS_OF).await?;
    let row = client.query_opt(&address_of, &[&id, &own]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Whether no lease runs but that of `own`.
pub(super) async fn is_alone(client: &mut Client, own: i64) -> Result<bool, Error> {
    let others = client.prepare_cached(OTHERS).await?;
    Ok(client.query_opt(&others, &[&own]).await?.is_none())
}

/// Ends the lease of `owner`, and with it all that it has reserved.
pub(super) async fn end(client: &mut Client, owner: i64) -> Result<(), Error> {
    let both = client.transaction().await?;
    for sql in [
        "DELETE FROM reservations WHERE owner = $1",
        "DELETE FROM collector WHERE owner = $1",
        "DELETE FROM instances WHERE id = $1",
    ] {
        let end = both.prepare_cached(sql).await?;
        both.execute(&end, &[&owner]).await?;
    }
    both.commit().await
}
