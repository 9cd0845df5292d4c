//! Contents that several entries have: the queries, which block, and the calls.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, named_params};

use super::{
    SqliteStore,
    database::{Database, PAGE},
    rows::{columns, committed, entry},
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
     WHERE uncompared = 1 AND seq > ?1 ORDER BY seq LIMIT ?2";

const ALIKE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries WHERE seq IN ( \
         SELECT min(seq) FROM entries WHERE repository = :repository AND key = :key \
         AND version = :version AND size = :size AND content_id <> :content GROUP BY content_id) \
     ORDER BY seq LIMIT :take"
);

/// Nothing where either entry has another content by now, or is gone.
const SHARE: &str = "UPDATE entries SET content_id = :new, stored = :stored, uncompared = 0 \
     WHERE content_id = :old AND repository = :repository \
     AND EXISTS (SELECT 1 FROM entries WHERE id = :id AND content_id = :old) \
     AND EXISTS (SELECT 1 FROM entries WHERE content_id = :new AND repository = :repository) \
     AND (SELECT digest FROM contents WHERE id = :old) = (SELECT digest FROM contents WHERE id = :new)";

impl Database {
    fn uncompared(&self, after: i64) -> rusqlite::Result<Vec<Committed>> {
        let read = self.read.get();
        let mut statement = read.prepare_cached(UNCOMPARED)?;
        statement.query_map((after, PAGE), committed)?.collect()
    }

    fn alike(&self, like: &Entry, take: u32) -> rusqlite::Result<Vec<Entry>> {
        let read = self.read.get();
        let mut statement = read.prepare_cached(ALIKE)?;
        let params = named_params! {
            ":repository": like.name.repository,
            ":key": like.name.key,
            ":version": like.name.version,
            ":size": like.size.cast_signed(),
            ":content": like.content,
            ":take": take,
        };
        statement.query_map(params, entry)?.collect()
    }

    fn set_compared(&self, id: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE entries SET uncompared = 0 WHERE id = ?1";
        self.write.lock().execute(sql, [id]).map(drop)
    }

    fn digest(&self, content: i64) -> rusqlite::Result<Option<Digest>> {
        let sql = "SELECT digest FROM contents WHERE id = ?1";
        let read = self.read.get();
        let digest: Option<Option<String>> = read
            .prepare_cached(sql)?
            .query_row([content], |row| row.get(0))
            .optional()?;
        Ok(digest.flatten().and_then(|digest| digest.parse().ok()))
    }

    fn set_digest(&self, content: i64, digest: Digest) -> rusqlite::Result<()> {
        let sql = "UPDATE contents SET digest = ?2 WHERE id = ?1";
        let write = self.write.lock();
        write.execute(sql, (content, digest.to_string())).map(drop)
    }

    fn share(&self, entry: &Entry, other: &Entry, keep_until: Timestamp) -> rusqlite::Result<bool> {
        let (old, size) = (entry.content, entry.size.cast_signed());
        let repository = &entry.name.repository;
        let mut write = self.write.lock();
        let all = write.transaction()?;
        let shared = all.prepare_cached(SHARE)?.execute(named_params! {
            ":new": other.content,
            ":stored": other.stored.cast_signed(),
            ":old": old,
            ":id": entry.id,
            ":repository": repository,
        })?;
        if shared == 0 {
            return Ok(false);
        }
        all.execute("DELETE FROM contents WHERE id = ?1", [old])?;
        all.execute(
            "INSERT INTO released_contents (id, keep_until) VALUES (?1, ?2)",
            (old, keep_until.as_millisecond()),
        )?;
        let sql =
            "UPDATE repository_usage SET shared_bytes = shared_bytes + ?2 WHERE repository = ?1";
        all.execute(sql, (repository, size))?;
        all.commit()?;
        Ok(true)
    }

    fn forget_released(&self, now: Timestamp) -> rusqlite::Result<()> {
        let sql = "DELETE FROM released_contents WHERE keep_until <= ?1";
        let write = self.write.lock();
        write.execute(sql, [now.as_millisecond()]).map(drop)
    }

    fn stored(&self, content: i64) -> rusqlite::Result<Option<u64>> {
        let sql = "SELECT stored FROM entries WHERE content_id = ?1 LIMIT 1";
        let read = self.read.get();
        let stored = read
            .prepare_cached(sql)?
            .query_row([content], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(stored.map(i64::cast_unsigned))
    }

    fn delete_content(&self, content: i64) -> rusqlite::Result<Vec<Entry>> {
        let sql = concat!(
            "DELETE FROM entries WHERE content_id = ?1 RETURNING ",
            columns!()
        );
        let write = self.write.lock();
        write.prepare(sql)?.query_map([content], entry)?.collect()
    }
}

#[async_trait]
impl SharedContents for SqliteStore {
    /// There is nobody else.
    async fn may_share(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn uncompared(&self, after: i64) -> Result<Vec<Committed>, StoreError> {
        self.query(move |database| database.uncompared(after)).await
    }

    async fn alike(&self, entry: &Entry, take: u32) -> Result<Vec<Entry>, StoreError> {
        let entry = entry.clone();
        self.query(move |database| database.alike(&entry, take))
            .await
    }

    async fn set_compared(&self, id: i64) -> Result<(), StoreError> {
        self.query(move |database| database.set_compared(id)).await
    }

    async fn digest(&self, content: i64) -> Result<Option<Digest>, StoreError> {
        self.query(move |database| database.digest(content)).await
    }

    async fn set_digest(&self, content: i64, digest: Digest) -> Result<(), StoreError> {
        self.query(move |database| database.set_digest(content, digest))
            .await
    }

    async fn share(
        &self,
        entry: &Entry,
        other: &Entry,
        keep_until: Timestamp,
    ) -> Result<bool, StoreError> {
        let (entry, other) = (entry.clone(), other.clone());
        self.query(move |database| database.share(&entry, &other, keep_until))
            .await
    }

    async fn forget_released(&self, now: Timestamp) -> Result<(), StoreError> {
        self.query(move |database| database.forget_released(now))
            .await
    }

    async fn stored(&self, content: i64) -> Result<Option<u64>, StoreError> {
        self.query(move |database| database.stored(content)).await
    }

    async fn delete_content(&self, content: i64) -> Result<Vec<Entry>, StoreError> {
        self.run(move |inner| inner.delete(|database| database.delete_content(content)))
            .await
    }
}
