//! Contents that several entries have: the queries, and the calls.

use async_trait::async_trait;
use deadpool_postgres::{Client, Transaction};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio_postgres::Error;

use super::{
    PostgresStore,
    entries::PAGE,
    leases,
    rows::{columns, committed, entry, lock_repository},
};
use crate::{
    digest::Digest,
    service::store::{
        entry_store::{Committed, Entry},
        error::StoreError,
        shared_contents::SharedContents,
    },
};

const UNCOMPARED: &str = "SELECT seq, id, content_id, stored FROM entries \
     WHERE uncompared AND seq > $1 ORDER BY seq LIMIT $2";

const ALIKE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries e WHERE e.seq IN ( \
         SELECT min(seq) FROM entries WHERE repository = $1 AND key = $2 AND version = $3 \
         AND size = $4 AND content_id <> $5 GROUP BY content_id) \
     ORDER BY e.seq LIMIT $6"
);

/// Nothing where either entry has another content by now, or is gone. Its repository is locked, as by all who add and
/// remove its entries.
const SHARE: &str = "UPDATE entries SET content_id = $1, stored = $2, uncompared = false \
     WHERE content_id = $3 AND repository = $4 \
     AND EXISTS (SELECT FROM entries WHERE id = $5 AND content_id = $3) \
     AND EXISTS (SELECT FROM entries WHERE content_id = $1 AND repository = $4) \
     AND (SELECT digest FROM contents WHERE id = $1) = (SELECT digest FROM contents WHERE id = $3)";

const RELEASE: &str = "INSERT INTO released_contents (id, keep_until) VALUES ($1, $2)";

const COUNT: &str =
    "UPDATE repository_usage SET shared_bytes = shared_bytes + $2 WHERE repository = $1";

const DELETE_CONTENT: &str = concat!(
    lock_repository!("content_id"),
    "DELETE FROM entries e USING locked WHERE e.id = locked.id AND e.content_id = $1 RETURNING ",
    columns!()
);

async fn uncompared(client: &mut Client, after: i64) -> Result<Vec<Committed>, Error> {
    let uncompared = client.prepare_cached(UNCOMPARED).await?;
    let rows = client.query(&uncompared, &[&after, &PAGE]).await?;
    rows.iter().map(committed).collect()
}

async fn alike(client: &mut Client, like: Entry, take: u32) -> Result<Vec<Entry>, Error> {
    let alike = client.prepare_cached(ALIKE).await?;
    let (name, size) = (&like.name, like.size.cast_signed());
    let rows = client
        .query(
            &alike,
            &[
                &name.repository,
                &name.key,
                &name.version,
                &size,
                &like.content,
                &i64::from(take),
            ],
        )
        .await?;
    rows.iter().map(entry).collect()
}

async fn digest(client: &mut Client, content: i64) -> Result<Option<Digest>, Error> {
    let digest = client
        .prepare_cached("SELECT digest FROM contents WHERE id = $1")
        .await?;
    let Some(row) = client.query_opt(&digest, &[&content]).await? else {
        return Ok(None);
    };
    let digest: Option<String> = row.try_get(0)?;
    Ok(digest.and_then(|digest| digest.parse().ok()))
}

async fn set_digest(client: &mut Client, content: i64, digest: Digest) -> Result<(), Error> {
    let sql = "UPDATE contents SET digest = $2 WHERE id = $1";
    let set = client.prepare_cached(sql).await?;
    let digest = digest.to_string();
    client.execute(&set, &[&content, &digest]).await.map(drop)
}

async fn share(
    client: &mut Client,
    entry: Entry,
    other: Entry,
    keep_until: i64,
) -> Result<bool, Error> {
    let (repository, size) = (&entry.name.repository, entry.size.cast_signed());
    let all = client.transaction().await?;
    // A statement of its own: those after it see what others have done before it was their turn.
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    let lock = all.prepare_cached(lock).await?;
    all.query_one(&lock, &[repository]).await?;
    let share = all.prepare_cached(SHARE).await?;
    let stored = other.stored.cast_signed();
    let shared = all
        .execute(
            &share,
            &[
                &other.content,
                &stored,
                &entry.content,
                repository,
                &entry.id,
            ],
        )
        .await?;
    if shared == 0 {
        all.rollback().await?;
        return Ok(false);
    }
    release(&all, entry.content, keep_until).await?;
    let count = all.prepare_cached(COUNT).await?;
    all.execute(&count, &[repository, &size]).await?;
    all.commit().await?;
    Ok(true)
}

/// Notes that a content is no entry's any more.
async fn release(all: &Transaction<'_>, content: i64, keep_until: i64) -> Result<(), Error> {
    let remove = "DELETE FROM contents WHERE id = $1";
    let remove = all.prepare_cached(remove).await?;
    all.execute(&remove, &[&content]).await?;
    let release = all.prepare_cached(RELEASE).await?;
    all.execute(&release, &[&content, &keep_until])
        .await
        .map(drop)
}

async fn stored(client: &mut Client, content: i64) -> Result<Option<u64>, Error> {
    let sql = "SELECT stored FROM entries WHERE content_id = $1 LIMIT 1";
    let stored = client.prepare_cached(sql).await?;
    let row = client.query_opt(&stored, &[&content]).await?;
    let stored = row.map(|row| row.try_get::<_, i64>(0)).transpose()?;
    Ok(stored.map(i64::cast_unsigned))
}

async fn delete_content(client: &mut Client, content: i64) -> Result<Vec<Entry>, Error> {
    let delete = client.prepare_cached(DELETE_CONTENT).await?;
    let rows = client.query(&delete, &[&content]).await?;
    rows.iter().map(entry).collect()
}

async fn execute(client: &mut Client, sql: &str, number: i64) -> Result<(), Error> {
    let statement = client.prepare_cached(sql).await?;
    client.execute(&statement, &[&number]).await.map(drop)
}

#[async_trait]
impl SharedContents for PostgresStore {
    async fn may_share(&self) -> Result<bool, StoreError> {
        self.connections
            .run(|client| leases::may_share(client).boxed())
            .await
    }

    async fn uncompared(&self, after: i64) -> Result<Vec<Committed>, StoreError> {
        self.connections
            .run(move |client| uncompared(client, after).boxed())
            .await
    }

    async fn alike(&self, entry: &Entry, take: u32) -> Result<Vec<Entry>, StoreError> {
        let entry = entry.clone();
        self.connections
            .run(move |client| alike(client, entry, take).boxed())
            .await
    }

    async fn set_compared(&self, id: i64) -> Result<(), StoreError> {
        let sql = "UPDATE entries SET uncompared = false WHERE id = $1";
        self.connections
            .run(move |client| execute(client, sql, id).boxed())
            .await
    }

    async fn digest(&self, content: i64) -> Result<Option<Digest>, StoreError> {
        self.connections
            .run(move |client| digest(client, content).boxed())
            .await
    }

    async fn set_digest(&self, content: i64, digest: Digest) -> Result<(), StoreError> {
        self.connections
            .run(move |client| set_digest(client, content, digest).boxed())
            .await
    }

    async fn share(
        &self,
        entry: &Entry,
        other: &Entry,
        keep_until: Timestamp,
    ) -> Result<bool, StoreError> {
        let (entry, other) = (entry.clone(), other.clone());
        let keep_until = keep_until.as_millisecond();
        self.connections
            .run(move |client| share(client, entry, other, keep_until).boxed())
            .await
    }

    async fn forget_released(&self, now: Timestamp) -> Result<(), StoreError> {
        let sql = "DELETE FROM released_contents WHERE keep_until <= $1";
        let now = now.as_millisecond();
        self.connections
            .run(move |client| execute(client, sql, now).boxed())
            .await
    }

    async fn stored(&self, content: i64) -> Result<Option<u64>, StoreError> {
        self.connections
            .run(move |client| stored(client, content).boxed())
            .await
    }

    async fn delete_content(&self, content: i64) -> Result<Vec<Entry>, StoreError> {
        self.connections
            .run(move |client| delete_content(client, content).boxed())
            .await
    }
}
