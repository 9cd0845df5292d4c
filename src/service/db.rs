//! The database: committed entries and nothing else. What is not in it does not exist.
//!
//! WAL lets readers go on while an entry is committed, so there is one connection for each side.
//! Both block: call them from a blocking thread only.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::upload::{Name, Region};

/// `seq` is the order of commits, and so decides which entry is newest. `extents` is a JSON list of
/// `[offset, length]` in the content file. Times are milliseconds since 1970.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS entries (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          INTEGER NOT NULL UNIQUE,
    repository  TEXT NOT NULL,
    scope       TEXT NOT NULL,
    version     TEXT NOT NULL,
    key         TEXT NOT NULL,
    size        INTEGER NOT NULL,
    extents     TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    accessed_at INTEGER NOT NULL,
    UNIQUE (repository, scope, version, key)
) STRICT;";

/// Counts up when the schema changes.
const SCHEMA_VERSION: i64 = 1;

/// No key may hold this character (see `entries`), so it ends the range of keys with a prefix.
pub const AFTER_ALL_KEYS: char = char::MAX;

const COLUMNS: &str = "id, repository, scope, version, key, size, extents, created_at, accessed_at";

/// Some entries of a repository.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The repository.
    pub repository: String,
    /// What keys begin with; empty for all.
    pub key_prefix: String,
    /// The scopes: entries of others do not match.
    pub scopes: Vec<String>,
}

/// What a listing is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortBy {
    /// When the entry was committed.
    CreatedAt,
    /// When it was last found.
    #[default]
    LastAccessedAt,
    /// How large it is.
    SizeInBytes,
}

/// Which end of a listing comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The smallest or oldest.
    Asc,
    /// The largest or newest.
    #[default]
    Desc,
}

/// One page of a sorted listing.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The order.
    pub sort: SortBy,
    /// Its direction.
    pub direction: Direction,
    /// How many entries to leave out.
    pub skip: u64,
    /// How many to give.
    pub take: u32,
}

/// A committed entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: Name,
    /// Its size in bytes.
    pub size: u64,
    /// Where its bytes lie in its file.
    pub extents: Vec<Region>,
    /// When it was committed.
    pub created: Timestamp,
    /// When it was last found.
    pub accessed: Timestamp,
}

impl Entry {
    /// How long its file must be at least: parts that were sent twice may make it longer.
    pub fn stored_bytes(&self) -> u64 {
        let ends = self.extents.iter().map(|extent| extent.offset + extent.len);
        ends.max().unwrap_or(0)
    }
}

/// The database of one data directory.
#[derive(Debug)]
pub struct Db {
    read: Mutex<Connection>,
    write: Mutex<Connection>,
}

impl Db {
    /// Opens the database, or creates it.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let write = connect(path)?;
        let version: i64 = write.pragma_query_value(None, "user_version", |row| row.get(0))?;
        // Only what is new is written: a database on a full disk must open.
        if version != SCHEMA_VERSION {
            write.execute_batch(SCHEMA)?;
            write.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        let read = connect(path)?;
        Ok(Self {
            read: Mutex::new(read),
            write: Mutex::new(write),
        })
    }

    /// Adds an entry. When this returns, it survives a loss of power.
    pub fn insert(&self, entry: &Entry) -> rusqlite::Result<()> {
        let extents = serde_json::to_string(&entry.extents)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let write = lock(&self.write);
        write
            .prepare_cached(&format!(
                "INSERT INTO entries ({COLUMNS}) VALUES (:id, :repository, :scope, :version, :key, \
                 :size, :extents, :created, :accessed)"
            ))?
            .execute(named_params! {
                ":id": entry.id,
                ":repository": entry.name.repository,
                ":scope": entry.name.scope,
                ":version": entry.name.version,
                ":key": entry.name.key,
                ":size": entry.size.cast_signed(),
                ":extents": extents,
                ":created": entry.created.as_millisecond(),
                ":accessed": entry.accessed.as_millisecond(),
            })?;
        Ok(())
    }

    /// The entry with exactly this name.
    pub fn exact(&self, name: &Name) -> rusqlite::Result<Option<Entry>> {
        let read = lock(&self.read);
        let mut statement = read.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM entries WHERE repository = :repository AND scope = :scope \
             AND version = :version AND key = :key"
        ))?;
        let row = statement.query_row(
            named_params! {
                ":repository": name.repository,
                ":scope": name.scope,
                ":version": name.version,
                ":key": name.key,
            },
            entry,
        );
        row.optional()
    }

    /// The newest entry whose key begins with the name's key.
    pub fn newest(&self, prefix: &Name) -> rusqlite::Result<Option<Entry>> {
        let read = lock(&self.read);
        let mut statement = read.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM entries WHERE repository = :repository AND scope = :scope \
             AND version = :version AND key >= :prefix AND key < :end ORDER BY seq DESC LIMIT 1"
        ))?;
        let row = statement.query_row(
            named_params! {
                ":repository": prefix.repository,
                ":scope": prefix.scope,
                ":version": prefix.version,
                ":prefix": prefix.key,
                ":end": end_of(&prefix.key),
            },
            entry,
        );
        row.optional()
    }

    /// The entry with this id.
    pub fn by_id(&self, id: i64) -> rusqlite::Result<Option<Entry>> {
        let read = lock(&self.read);
        let mut statement =
            read.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?;
        statement.query_row([id], entry).optional()
    }

    /// All entries: each id, and how long its file must be at least.
    pub fn lengths(&self) -> rusqlite::Result<Vec<(i64, u64)>> {
        let read = lock(&self.read);
        let mut statement = read.prepare(&format!("SELECT {COLUMNS} FROM entries"))?;
        let rows = statement.query_map([], |row| {
            let entry = entry(row)?;
            Ok((entry.id, entry.stored_bytes()))
        })?;
        rows.collect()
    }

    /// Notes that an entry was found. May be lost with the power.
    pub fn touch(&self, id: i64, now: Timestamp) -> rusqlite::Result<()> {
        let write = lock(&self.write);
        // Nobody waits for the disk because of a time stamp.
        write.pragma_update(None, "synchronous", "NORMAL")?;
        let updated = write
            .prepare_cached("UPDATE entries SET accessed_at = ?2 WHERE id = ?1")?
            .execute((id, now.as_millisecond()));
        write.pragma_update(None, "synchronous", "FULL")?;
        updated.map(drop)
    }

    /// How many entries match.
    pub fn count(&self, filter: &Filter) -> rusqlite::Result<u64> {
        let read = lock(&self.read);
        let sql = format!("SELECT count(*) FROM entries WHERE {MATCHES}");
        let mut statement = read.prepare_cached(&sql)?;
        let count: i64 = statement.query_row(filter_params!(filter), |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// One page of the entries that match.
    pub fn list(&self, filter: &Filter, page: Page) -> rusqlite::Result<Vec<Entry>> {
        let column = match page.sort {
            SortBy::CreatedAt => "created_at",
            SortBy::LastAccessedAt => "accessed_at",
            SortBy::SizeInBytes => "size",
        };
        let direction = match page.direction {
            Direction::Asc => "ASC",
            Direction::Desc => "DESC",
        };
        let read = lock(&self.read);
        let mut statement = read.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM entries WHERE {MATCHES} \
             ORDER BY {column} {direction}, seq {direction} LIMIT {} OFFSET {}",
            page.take, page.skip
        ))?;
        let rows = statement.query_map(filter_params!(filter), entry)?;
        rows.collect()
    }

    /// Removes an entry. When this returns, it is gone even after a loss of power.
    pub fn delete(&self, id: i64) -> rusqlite::Result<bool> {
        let write = lock(&self.write);
        let deleted = write.execute("DELETE FROM entries WHERE id = ?1", [id])?;
        Ok(deleted > 0)
    }

    /// Fails if the database cannot be read.
    pub fn ping(&self) -> rusqlite::Result<()> {
        lock(&self.read).query_row("SELECT 1", [], |_| Ok(()))
    }
}

const MATCHES: &str = "repository = :repository AND key >= :prefix AND key < :end \
                       AND scope IN (SELECT value FROM json_each(:scopes))";

macro_rules! filter_params {
    ($filter:expr) => {
        named_params! {
            ":repository": $filter.repository,
            ":prefix": $filter.key_prefix,
            ":end": end_of(&$filter.key_prefix),
            ":scopes": serde_json::Value::from($filter.scopes.clone()).to_string(),
        }
    };
}
use filter_params;

fn end_of(prefix: &str) -> String {
    format!("{prefix}{AFTER_ALL_KEYS}")
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit that was acknowledged is on the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic inside a statement has rolled it back; the connection is as good as before.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let time = |column| {
        let millisecond = row.get(column)?;
        Timestamp::from_millisecond(millisecond)
            .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, millisecond))
    };
    let extents: String = row.get(6)?;
    let extents = serde_json::from_str(&extents).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(6, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(Entry {
        id: row.get(0)?,
        name: Name {
            repository: row.get(1)?,
            scope: row.get(2)?,
            version: row.get(3)?,
            key: row.get(4)?,
        },
        size: row.get::<_, i64>(5)?.cast_unsigned(),
        extents,
        created: time(7)?,
        accessed: time(8)?,
    })
}
