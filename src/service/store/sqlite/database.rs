//! The queries. All block: they are called where they may.
//!
//! There is one connection that writes and several that read.

use std::path::Path;

use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, named_params};

use super::{
    pool::Pool,
    rows::{columns, decode, encode, entry},
    schema,
};
use crate::{
    protocol::rest::{Direction, SortBy},
    service::store::{
        activity::ActivitySums,
        entry_store::{Committed, Entry, EntryName, Filter, Page, Search, end_of},
        extent::{Extent, ObjectId},
        touches::{Times, Touches},
    },
};

/// How many entries are read at once of all that were committed.
const PAGE: u32 = 10_000;

const BY_NAME: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries WHERE repository = :repository AND scope = :scope \
     AND version = :version AND key = :key"
);

/// All keys with the prefix are looked at, in the index of names and nowhere else.
const NEWEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM entries WHERE seq = (SELECT max(seq) FROM entries \
     WHERE repository = :repository AND scope = :scope AND version = :version \
     AND key >= :prefix AND key < :end)"
);

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM entries WHERE id = ?1");

/// An index is the newest of its kind when it comes.
const INSERT: &str = concat!(
    "INSERT INTO entries (",
    columns!(),
    ", index_base, newest_index) VALUES (:id, :repository, :scope, :version, :key, :size, :stored, \
     :created, :accessed, :index_base, :index_base IS NOT NULL)"
);

/// The database of one data directory.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) read: Pool,
    pub(super) write: Mutex<Connection>,
    pub(super) touches: Touches,
    pub(super) activity: ActivitySums,
}

impl Database {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut write = connect(path)?;
        schema::bring_up(&mut write)?;
        Ok(Self {
            read: Pool::open(|| connect(path))?,
            write: Mutex::new(write),
            touches: Touches::default(),
            activity: ActivitySums::default(),
        })
    }

    pub(super) fn insert(&self, entry: &Entry, extents: &[Extent]) -> rusqlite::Result<()> {
        let places = extents.iter().map(|extent| (extent.offset, extent.len));
        let mut write = self.write.lock();
        let both = write.transaction()?;
        both.prepare_cached("INSERT INTO contents (id, extents) VALUES (?1, ?2)")?
            .execute((entry.id, encode(places)))?;
        both.prepare_cached(INSERT)?.execute(named_params! {
            ":id": entry.id,
            ":repository": entry.name.repository,
            ":scope": entry.name.scope,
            ":version": entry.name.version,
            ":key": entry.name.key,
            ":size": entry.size.cast_signed(),
            ":stored": entry.stored.cast_signed(),
            ":created": entry.created.as_millisecond(),
            ":accessed": entry.accessed.as_millisecond(),
            ":index_base": entry.name.index_base(),
        })?;
        both.commit()
    }

    pub(super) fn find(&self, search: &Search) -> rusqlite::Result<Option<Entry>> {
        let read = self.read.get();
        for scope in &search.scopes {
            for key in &search.keys {
                let found = exact(&read, &search.repository, scope, &search.version, key)?;
                let found = match found {
                    None => newest(&read, search, scope, key)?,
                    found => found,
                };
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    pub(super) fn by_name(&self, name: &EntryName) -> rusqlite::Result<Option<Entry>> {
        let read = self.read.get();
        exact(
            &read,
            &name.repository,
            &name.scope,
            &name.version,
            &name.key,
        )
    }

    pub(super) fn by_id(&self, id: i64) -> rusqlite::Result<Option<Entry>> {
        let read = self.read.get();
        let mut statement = read.prepare_cached(BY_ID)?;
        statement.query_row([id], entry).optional()
    }

    pub(super) fn content(&self, id: i64) -> rusqlite::Result<Option<(Entry, Vec<Extent>)>> {
        let Some(entry) = self.by_id(id)? else {
            return Ok(None);
        };
        let read = self.read.get();
        let mut statement = read.prepare_cached("SELECT extents FROM contents WHERE id = ?1")?;
        let extents = statement.query_row([id], |row| {
            Ok(decode(ObjectId(id), row.get_ref(0)?.as_blob()?))
        });
        Ok(extents.optional()?.map(|extents| (entry, extents)))
    }

    pub(super) fn committed(&self, after: i64) -> rusqlite::Result<Vec<Committed>> {
        let read = self.read.get();
        let sql = "SELECT seq, id, stored FROM entries WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut statement = read.prepare_cached(sql)?;
        let rows = statement.query_map((after, PAGE), |row| {
            Ok(Committed {
                position: row.get(0)?,
                id: row.get(1)?,
                stored: row.get::<_, i64>(2)?.cast_unsigned(),
            })
        })?;
        rows.collect()
    }

    pub(super) fn touch(&self, id: i64, now: Timestamp) -> rusqlite::Result<()> {
        if self.touches.add(id, now) {
            self.flush()?;
        }
        Ok(())
    }

    pub(super) fn flush(&self) -> rusqlite::Result<()> {
        let Some(all) = self.touches.take() else {
            return Ok(());
        };
        let written = self.write_lazily(|write| update_touches(write, &all));
        match written {
            Ok(()) => self.touches.written(&all),
            Err(_) => self.touches.put_back(&all),
        }
        written
    }

    /// Writes what may be lost with the machine: nobody waits for the disk because of a time stamp or a sum.
    pub(super) fn write_lazily(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut write = self.write.lock();
        write.pragma_update(None, "synchronous", "NORMAL")?;
        let written = work(&mut write);
        write.pragma_update(None, "synchronous", "FULL")?;
        written
    }

    pub(super) fn count(&self, filter: &Filter) -> rusqlite::Result<u64> {
        let read = self.read.get();
        let sql = format!("SELECT count(*) FROM entries WHERE {}", matches(filter));
        let mut statement = read.prepare_cached(&sql)?;
        let count: i64 = statement.query_row(filter_params!(filter), |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    pub(super) fn list(&self, filter: &Filter, page: Page) -> rusqlite::Result<Vec<Entry>> {
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
            "SELECT {} FROM entries WHERE {} \
             ORDER BY {column} {direction}, seq {direction} LIMIT {} OFFSET {}",
            columns!(),
            matches(filter),
            page.take,
            page.skip
        ))?;
        let rows = statement.query_map(filter_params!(filter), entry)?;
        let mut rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
        self.touches.show(&mut rows);
        Ok(rows)
    }

    pub(super) fn delete(&self, id: i64) -> rusqlite::Result<bool> {
        let write = self.write.lock();
        let deleted = write.execute("DELETE FROM entries WHERE id = ?1", [id])?;
        Ok(deleted > 0)
    }

    pub(super) fn ping(&self) -> rusqlite::Result<()> {
        self.read.get().query_row("SELECT 1", [], |_| Ok(()))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "the last times of access could not be noted");
        }
    }
}

fn exact(
    read: &Connection,
    repository: &str,
    scope: &str,
    version: &str,
    key: &str,
) -> rusqlite::Result<Option<Entry>> {
    let mut statement = read.prepare_cached(BY_NAME)?;
    let row = statement.query_row(
        named_params! {
            ":repository": repository,
            ":scope": scope,
            ":version": version,
            ":key": key,
        },
        entry,
    );
    row.optional()
}

fn newest(
    read: &Connection,
    search: &Search,
    scope: &str,
    prefix: &str,
) -> rusqlite::Result<Option<Entry>> {
    let mut statement = read.prepare_cached(NEWEST)?;
    let row = statement.query_row(
        named_params! {
            ":repository": search.repository,
            ":scope": scope,
            ":version": search.version,
            ":prefix": prefix,
            ":end": end_of(prefix),
        },
        entry,
    );
    row.optional()
}

fn update_touches(write: &mut Connection, all: &Times) -> rusqlite::Result<()> {
    let together = write.transaction()?;
    let mut update = together
        .prepare_cached("UPDATE entries SET accessed_at = ?2 WHERE id = ?1 AND accessed_at < ?2")?;
    for touch in all {
        update.execute(touch)?;
    }
    drop(update);
    together.commit()
}

/// The condition of a filter. What it does not ask for is compared with nothing, so that its parameters are
/// always the same.
fn matches(filter: &Filter) -> String {
    let repository = match filter.repository {
        Some(_) => "repository = :repository",
        None => ":repository IS NULL",
    };
    let scopes = match filter.scopes {
        Some(_) => "scope IN (SELECT value FROM json_each(:scopes))",
        None => ":scopes IS NULL",
    };
    let text = if filter.key_text.is_empty() {
        ":text = ''"
    } else {
        "instr(lower(key), lower(:text)) > 0"
    };
    format!("{repository} AND key >= :prefix AND key < :end AND {scopes} AND {text}")
}

macro_rules! filter_params {
    ($filter:expr) => {
        named_params! {
            ":repository": $filter.repository,
            ":prefix": $filter.key_prefix,
            ":end": end_of(&$filter.key_prefix),
            ":text": $filter.key_text,
            ":scopes": $filter.scopes.as_ref().map(|scopes| serde_json::json!(scopes).to_string()),
        }
    };
}
use filter_params;

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit that was acknowledged is on the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}
