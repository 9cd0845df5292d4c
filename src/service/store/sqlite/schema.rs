//! The tables, and how those of an older version become these.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::rows::encode;
use crate::{protocol::key::IndexName, service::store::entry_store::end_of};

/// Counts up when the schema changes.
const VERSION: i64 = 6;

/// `seq` is the order of commits, and so decides which entry is newest. `stored` is how long the content
/// file must be at least. Times are milliseconds since 1970.
///
/// Where the bytes lie is a table of its own, since it may be a megabyte for one entry and only a
/// download needs it: pairs of offset and length in the content file, eight bytes each, little-endian.
const SCHEMA: &str = "
CREATE TABLE entries (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          INTEGER NOT NULL UNIQUE,
    repository  TEXT NOT NULL,
    scope       TEXT NOT NULL,
    version     TEXT NOT NULL,
    key         TEXT NOT NULL,
    size        INTEGER NOT NULL,
    stored      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    accessed_at INTEGER NOT NULL,
    UNIQUE (repository, scope, version, key)
) STRICT;";

const CONTENTS: &str = "
CREATE TABLE contents (
    id      INTEGER PRIMARY KEY,
    extents BLOB NOT NULL
) STRICT;
CREATE TRIGGER content_of_entry AFTER DELETE ON entries BEGIN
    DELETE FROM contents WHERE id = OLD.id;
END;";

/// What the eviction needs, since version 3. `index_base` is what an index shares with those that it replaces, and
/// `newest_index` marks the one that builds read; triggers keep the marks, and what entries take by repository, in
/// the transaction that adds or removes an entry.
const EVICTION: &str = "
ALTER TABLE entries ADD COLUMN index_base TEXT;
ALTER TABLE entries ADD COLUMN newest_index INTEGER NOT NULL DEFAULT 0;
CREATE INDEX entries_idle ON entries (newest_index, accessed_at);
CREATE INDEX entries_idle_of_repository ON entries (repository, newest_index, accessed_at);
CREATE INDEX entries_index ON entries (repository, scope, version, index_base)
    WHERE index_base IS NOT NULL;
CREATE TABLE repository_usage (
    repository TEXT PRIMARY KEY,
    bytes      INTEGER NOT NULL,
    entries    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO repository_usage
    SELECT repository, sum(size), count(*) FROM entries GROUP BY repository;
CREATE TRIGGER usage_of_new_entry AFTER INSERT ON entries BEGIN
    INSERT INTO repository_usage VALUES (NEW.repository, NEW.size, 1)
        ON CONFLICT (repository) DO UPDATE
        SET bytes = bytes + excluded.bytes, entries = entries + 1;
END;
CREATE TRIGGER usage_of_removed_entry AFTER DELETE ON entries BEGIN
    UPDATE repository_usage SET bytes = bytes - OLD.size, entries = entries - 1
        WHERE repository = OLD.repository;
    DELETE FROM repository_usage WHERE repository = OLD.repository AND entries = 0;
END;
CREATE TRIGGER new_index AFTER INSERT ON entries WHEN NEW.index_base IS NOT NULL BEGIN
    UPDATE entries SET newest_index = 0
        WHERE repository = NEW.repository AND scope = NEW.scope AND version = NEW.version
        AND index_base = NEW.index_base AND newest_index = 1 AND seq < NEW.seq;
END;
CREATE TRIGGER removed_index AFTER DELETE ON entries WHEN OLD.newest_index = 1 BEGIN
    UPDATE entries SET newest_index = 1 WHERE seq = (
        SELECT max(seq) FROM entries
        WHERE repository = OLD.repository AND scope = OLD.scope AND version = OLD.version
        AND index_base = OLD.index_base);
END;";

/// Marks the newest indexes once all entries have their `index_base`.
const MARK_NEWEST: &str = "
UPDATE entries SET newest_index = 1 WHERE seq IN (
    SELECT max(seq) FROM entries WHERE index_base IS NOT NULL
    GROUP BY repository, scope, version, index_base);";

/// Tokens that were made, since version 4; see [`crate::service::store::TokenRecord`].
const TOKENS: &str = "
CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    repository TEXT,
    role       TEXT,
    scopes     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;";

/// What contents that are shared need, since version 5: `content_id` is the row of `contents`, which goes with the last
/// entry that has it; `uncompared` marks entries that others are like; `released_contents` are those that no entry has and that
/// may still be read; `shared_bytes` is what entries take and contents do not.
const SHARING: &str = "
ALTER TABLE entries ADD COLUMN content_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN uncompared INTEGER NOT NULL DEFAULT 0;
UPDATE entries SET content_id = id;
CREATE INDEX entries_content ON entries (content_id);
CREATE INDEX entries_key ON entries (repository, key);
CREATE INDEX entries_uncompared ON entries (seq) WHERE uncompared = 1;
UPDATE entries SET uncompared = 1 WHERE size > 0 AND EXISTS (
    SELECT 1 FROM entries e WHERE e.repository = entries.repository AND e.key = entries.key
    AND e.version = entries.version AND e.size = entries.size AND e.seq < entries.seq);
ALTER TABLE contents ADD COLUMN digest TEXT;
ALTER TABLE repository_usage ADD COLUMN shared_bytes INTEGER NOT NULL DEFAULT 0;
CREATE TABLE released_contents (
    id         INTEGER PRIMARY KEY,
    keep_until INTEGER NOT NULL
) STRICT;
DROP TRIGGER content_of_entry;
CREATE TRIGGER content_of_entry AFTER DELETE ON entries
    WHEN NOT EXISTS (SELECT 1 FROM entries WHERE content_id = OLD.content_id) BEGIN
    DELETE FROM contents WHERE id = OLD.content_id;
END;
DROP TRIGGER usage_of_new_entry;
CREATE TRIGGER usage_of_new_entry AFTER INSERT ON entries BEGIN
    INSERT INTO repository_usage VALUES (NEW.repository, NEW.size, 1, NEW.size * EXISTS (
            SELECT 1 FROM entries WHERE content_id = NEW.content_id AND seq <> NEW.seq))
        ON CONFLICT (repository) DO UPDATE
        SET bytes = bytes + excluded.bytes, entries = entries + 1,
            shared_bytes = shared_bytes + excluded.shared_bytes;
END;
DROP TRIGGER usage_of_removed_entry;
CREATE TRIGGER usage_of_removed_entry AFTER DELETE ON entries BEGIN
    UPDATE repository_usage SET bytes = bytes - OLD.size, entries = entries - 1,
        shared_bytes = shared_bytes - OLD.size * EXISTS (
            SELECT 1 FROM entries WHERE content_id = OLD.content_id)
        WHERE repository = OLD.repository;
    DELETE FROM repository_usage WHERE repository = OLD.repository AND entries = 0;
END;";

/// What has happened in each repository on each day, since version 6; see [`crate::service::store::Activity`].
const DAYS: &str = "
CREATE TABLE repository_days (
    repository      TEXT NOT NULL,
    day             INTEGER NOT NULL,
    hits            INTEGER NOT NULL,
    misses          INTEGER NOT NULL,
    added_bytes     INTEGER NOT NULL,
    added_entries   INTEGER NOT NULL,
    evicted_bytes   INTEGER NOT NULL,
    evicted_entries INTEGER NOT NULL,
    PRIMARY KEY (repository, day)
) STRICT, WITHOUT ROWID;";

/// Brings the tables of a database to this version. Only what is new is written: a database on a full
/// disk must open.
pub(super) fn bring_up(connection: &mut Connection) -> rusqlite::Result<()> {
    if version(connection)? == VERSION {
        return Ok(());
    }
    // A command may be at it, too: whoever comes second sees what the first has made.
    let all = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match version(&all)? {
        0 => {
            all.execute_batch(SCHEMA)?;
            all.execute_batch(CONTENTS)?;
        }
        // A service of version 1 sets the version back and changes nothing else.
        1 if all.table_exists(None, "contents")? => {}
        1 => from_version_1(&all)?,
        2..=VERSION => {}
        newer => return Err(unknown(newer)),
    }
    if !all.table_exists(None, "repository_usage")? {
        from_version_2(&all)?;
    }
    if !all.table_exists(None, "tokens")? {
        all.execute_batch(TOKENS)?;
    }
    if !all.table_exists(None, "released_contents")? {
        all.execute_batch(SHARING)?;
    }
    if !all.table_exists(None, "repository_days")? {
        all.execute_batch(DAYS)?;
    }
    all.pragma_update(None, "user_version", VERSION)?;
    all.commit()
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Version 1 had the extents in the rows of `entries`, as a list in JSON.
fn from_version_1(all: &Transaction<'_>) -> rusqlite::Result<()> {
    all.execute_batch("ALTER TABLE entries ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;")?;
    all.execute_batch(CONTENTS)?;
    let mut ids = all.prepare("SELECT id FROM entries")?;
    let ids: Vec<i64> = ids
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut read = all.prepare("SELECT extents FROM entries WHERE id = ?1")?;
    let mut insert = all.prepare("INSERT INTO contents (id, extents) VALUES (?1, ?2)")?;
    let mut update = all.prepare("UPDATE entries SET stored = ?2 WHERE id = ?1")?;
    for id in ids {
        let text: String = read.query_row([id], |row| row.get(0))?;
        let extents: Option<Vec<(u64, u64)>> = serde_json::from_str(&text).ok();
        // What cannot be read needs more than any file has, and so is dropped as damaged.
        let stored = extents.as_ref().map_or(i64::MAX, |extents| {
            let ends = extents.iter().map(|(offset, len)| offset + len);
            ends.max().unwrap_or(0).cast_signed()
        });
        insert.execute((id, encode(extents.unwrap_or_default())))?;
        update.execute((id, stored))?;
    }
    all.execute_batch("ALTER TABLE entries DROP COLUMN extents;")
}

/// Version 2 did not know how much entries take, and which are indexes.
fn from_version_2(all: &Transaction<'_>) -> rusqlite::Result<()> {
    all.execute_batch(EVICTION)?;
    let mut keys = all.prepare("SELECT seq, key FROM entries WHERE key >= ?1 AND key < ?2")?;
    let range = (IndexName::PREFIX, end_of(IndexName::PREFIX));
    let keys: Vec<(i64, String)> = keys
        .query_map(range, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut update = all.prepare("UPDATE entries SET index_base = ?2 WHERE seq = ?1")?;
    for (seq, key) in keys {
        if let Some(index) = IndexName::parse(&key) {
            update.execute((seq, index.base))?;
        }
    }
    all.execute_batch(MARK_NEWEST)
}

fn unknown(version: i64) -> rusqlite::Error {
    let message = format!("its version is {version}, which a newer buildkit-gha has made");
    rusqlite::Error::ToSqlConversionFailure(message.into())
}
