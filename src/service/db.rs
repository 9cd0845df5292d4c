//! The database: committed entries and nothing else. What is not in it does not exist.
//!
//! There is one connection that writes and several that read. All block: call them from a blocking
//! thread only.

mod pool;
mod schema;

use std::{collections::HashMap, path::Path};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, named_params};

use self::pool::Pool;
pub use self::pool::SEARCHES;
use super::{api_error::ApiError, data_dir::DataDir, extent::Extent, upload::EntryName};
use crate::protocol::rest::{Direction, SortBy};

/// No key may hold this character (see `entries`), so it ends the range of keys with a prefix.
pub const AFTER_ALL_KEYS: char = char::MAX;

/// The database's file in the data directory, and those that SQLite keeps beside it.
const FILE: &str = "entries.db";
const WAL: &str = "entries.db-wal";
const SHARED: &str = "entries.db-shm";

const COLUMNS: &str = "id, repository, scope, version, key, size, stored, created_at, accessed_at";

/// How many times of access wait to be written, at most.
const MAX_TOUCHES: usize = 1_000;

/// Bytes of an extent in the database.
const EXTENT_BYTES: usize = 16;

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
    pub name: EntryName,
    /// Its size in bytes.
    pub size: u64,
    /// How long its file must be at least.
    pub stored: u64,
    /// When it was committed.
    pub created: Timestamp,
    /// When it was last found.
    pub accessed: Timestamp,
}

/// The database of one data directory.
#[derive(Debug)]
pub struct Db {
    read: Pool,
    write: Mutex<Connection>,
    /// Milliseconds since 1970 at which entries were found, by id. They are written now and then, so
    /// that no lookup waits for the commits of others.
    touched: Mutex<HashMap<i64, i64>>,
}

impl Db {
    /// Opens the database, or creates it.
    pub fn open(data_dir: &DataDir) -> Result<Self, ApiError> {
        // SQLite gives its other files the mode of this one.
        for name in [FILE, WAL, SHARED] {
            data_dir.secure_if_present(name)?;
        }
        data_dir.file(FILE)?;
        let path = &data_dir.path().join(FILE);
        let mut write = connect(path)?;
        schema::bring_up(&mut write)?;
        Ok(Self {
            read: Pool::open(|| connect(path))?,
            write: Mutex::new(write),
            touched: Mutex::default(),
        })
    }

    /// Adds an entry whose bytes lie in `extents`. When this returns, it survives a loss of power.
    pub fn insert(&self, entry: &Entry, extents: &[Extent]) -> rusqlite::Result<()> {
        let mut write = lock(&self.write);
        let both = write.transaction()?;
        both.prepare_cached("INSERT INTO contents (id, extents) VALUES (?1, ?2)")?
            .execute((entry.id, encode(extents)))?;
        both.prepare_cached(&format!(
            "INSERT INTO entries ({COLUMNS}) VALUES (:id, :repository, :scope, :version, :key, \
             :size, :stored, :created, :accessed)"
        ))?
        .execute(named_params! {
            ":id": entry.id,
            ":repository": entry.name.repository,
            ":scope": entry.name.scope,
            ":version": entry.name.version,
            ":key": entry.name.key,
            ":size": entry.size.cast_signed(),
            ":stored": entry.stored.cast_signed(),
            ":created": entry.created.as_millisecond(),
            ":accessed": entry.accessed.as_millisecond(),
        })?;
        both.commit()
    }

    /// Where the bytes of an entry lie in its file.
    pub fn extents(&self, id: i64) -> rusqlite::Result<Option<Vec<Extent>>> {
        let read = self.read.get();
        let mut statement = read.prepare_cached("SELECT extents FROM contents WHERE id = ?1")?;
        let decoded = statement.query_row([id], |row| Ok(decode(row.get_ref(0)?.as_blob()?)));
        decoded.optional()
    }

    /// The entry with exactly this name.
    pub fn exact(&self, name: &EntryName) -> rusqlite::Result<Option<Entry>> {
        let read = self.read.get();
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

    /// The newest entry whose key begins with the name's key. All keys with the prefix are looked at, in
    /// the index of names and nowhere else.
    pub fn newest(&self, prefix: &EntryName) -> rusqlite::Result<Option<Entry>> {
        let read = self.read.get();
        let mut newest = read.prepare_cached(
            "SELECT max(seq) FROM entries WHERE repository = :repository AND scope = :scope \
             AND version = :version AND key >= :prefix AND key < :end",
        )?;
        let seq: Option<i64> = newest.query_row(
            named_params! {
                ":repository": prefix.repository,
                ":scope": prefix.scope,
                ":version": prefix.version,
                ":prefix": prefix.key,
                ":end": end_of(&prefix.key),
            },
            |row| row.get(0),
        )?;
        let Some(seq) = seq else {
            return Ok(None);
        };
        let mut statement =
            read.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE seq = ?1"))?;
        statement.query_row([seq], entry).optional()
    }

    /// The entry with this id.
    pub fn by_id(&self, id: i64) -> rusqlite::Result<Option<Entry>> {
        let read = self.read.get();
        let mut statement =
            read.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?;
        statement.query_row([id], entry).optional()
    }

    /// All entries: each id, and how long its file must be at least.
    pub fn lengths(&self) -> rusqlite::Result<Vec<(i64, u64)>> {
        let read = self.read.get();
        let mut statement = read.prepare("SELECT id, stored FROM entries")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
        })?;
        rows.collect()
    }

    /// Notes that an entry was found. May be lost with the process.
    pub fn touch(&self, id: i64, now: Timestamp) -> rusqlite::Result<()> {
        let mut touched = lock(&self.touched);
        touched.insert(id, now.as_millisecond());
        if touched.len() < MAX_TOUCHES {
            return Ok(());
        }
        let all = std::mem::take(&mut *touched);
        drop(touched);
        self.write_touches(all)
    }

    /// Writes down when entries were found.
    pub fn flush(&self) -> rusqlite::Result<()> {
        let all = std::mem::take(&mut *lock(&self.touched));
        if all.is_empty() {
            return Ok(());
        }
        self.write_touches(all)
    }

    fn write_touches(&self, all: HashMap<i64, i64>) -> rusqlite::Result<()> {
        let mut write = lock(&self.write);
        // Nobody waits for the disk because of a time stamp.
        write.pragma_update(None, "synchronous", "NORMAL")?;
        let updated = update_touches(&mut write, all);
        write.pragma_update(None, "synchronous", "FULL")?;
        updated
    }

    /// How many entries match.
    pub fn count(&self, filter: &Filter) -> rusqlite::Result<u64> {
        let read = self.read.get();
        let sql = format!("SELECT count(*) FROM entries WHERE {MATCHES}");
        let mut statement = read.prepare_cached(&sql)?;
        let count: i64 = statement.query_row(filter_params!(filter), |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// One page of the entries that match.
    pub fn list(&self, filter: &Filter, page: Page) -> rusqlite::Result<Vec<Entry>> {
        if page.sort == SortBy::LastAccessedAt {
            self.flush()?;
        }
        let column = match page.sort {
            SortBy::CreatedAt => "created_at",
            SortBy::LastAccessedAt => "accessed_at",
            SortBy::SizeInBytes => "size",
        };
        let direction = match page.direction {
            Direction::Asc => "ASC",
            Direction::Desc => "DESC",
        };
        let read = self.read.get();
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
        self.read.get().query_row("SELECT 1", [], |_| Ok(()))
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "the last times of access could not be noted");
        }
    }
}

fn update_touches(write: &mut Connection, all: HashMap<i64, i64>) -> rusqlite::Result<()> {
    let together = write.transaction()?;
    let mut update =
        together.prepare_cached("UPDATE entries SET accessed_at = ?2 WHERE id = ?1")?;
    for touch in all {
        update.execute(touch)?;
    }
    drop(update);
    together.commit()
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
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit that was acknowledged is on the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn lock<T>(one: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic inside a statement has rolled it back; the connection is as good as before.
    one.lock()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let time = |column| {
        let millisecond = row.get(column)?;
        Timestamp::from_millisecond(millisecond)
            .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, millisecond))
    };
    Ok(Entry {
        id: row.get(0)?,
        name: EntryName {
            repository: row.get(1)?,
            scope: row.get(2)?,
            version: row.get(3)?,
            key: row.get(4)?,
        },
        size: row.get::<_, i64>(5)?.cast_unsigned(),
        stored: row.get::<_, i64>(6)?.cast_unsigned(),
        created: time(7)?,
        accessed: time(8)?,
    })
}

fn encode(extents: &[Extent]) -> Vec<u8> {
    let both = extents
        .iter()
        .flat_map(|extent| [extent.offset, extent.len]);
    both.flat_map(u64::to_le_bytes).collect()
}

fn decode(extents: &[u8]) -> Vec<Extent> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    let (extents, _) = extents.as_chunks::<EXTENT_BYTES>();
    let extent = |extent: &[u8; EXTENT_BYTES]| Extent {
        offset: number(&extent[..8]),
        len: number(&extent[8..]),
    };
    extents.iter().map(extent).collect()
}
