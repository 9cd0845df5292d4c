//! The queries. All block: they are called where they may.
//!
//! There is one connection that writes and several that read.

use std::path::Path;

use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Params, named_params};

use super::{
    pool::Pool,
    rows::{columns, committed, decode, encode, entry},
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
pub(super) const PAGE: u32 = 10_000;

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

/// One statement, so one moment: its content may become another.
const CONTENT: &str = concat!(
    "SELECT ",
    columns!(),
    ", (SELECT extents FROM contents c WHERE c.id = content_id) FROM entries WHERE id = ?1"
);

/// An index is the newest of its kind when it comes.
const INSERT: &str = concat!(
    "INSERT INTO entries (",
    columns!(),
    ", index_base, newest_index, uncompared) VALUES (:id, :repository, :scope, :version, :key, :size, :stored, \
     :created, :accessed, :content, :index_base, :index_base IS NOT NULL, :size > 0 AND EXISTS ( \
         SELECT 1 FROM entries e WHERE e.repository = :repository AND e.key = :key \
         AND e.version = :version AND e.size = :size AND e.content_id <> :content))"
);

/// Another entry may have brought it.
const INSERT_CONTENT: &str =
    "INSERT INTO contents (id, extents) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";

const IS_CONTENT: &str = "SELECT EXISTS (SELECT 1 FROM entries WHERE content_id = ?1) \
     OR EXISTS (SELECT 1 FROM released_contents WHERE id = ?1)";

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
        both.prepare_cached(INSERT_CONTENT)?
            .execute((entry.content, encode(places)))?;
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
            ":content": entry.content,
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

    /// Whether an entry has the content, or whoever reads it may still do so.
    pub(super) fn is_content(&self, content: i64) -> rusqlite::Result<bool> {
        let read = self.read.get();
        let mut statement = read.prepare_cached(IS_CONTENT)?;
        statement.query_row([content], |row| row.get(0))
    }

    pub(super) fn content(&self, id: i64) -> rusqlite::Result<Option<(Entry, Vec<Extent>)>> {
        let read = self.read.get();
        let mut statement = read.prepare_cached(CONTENT)?;
        let content = statement.query_row([id], |row| {
            let entry = entry(row)?;
            let extents = row.get_ref(10)?.as_blob_or_null()?;
            Ok(extents.map(|extents| {
                let extents = decode(ObjectId(entry.content), extents);
                (entry, extents)
            }))
        });
        Ok(content.optional()?.flatten())
    }

    pub(super) fn committed(&self, after: i64) -> rusqlite::Result<Vec<Committed>> {
        let read = self.read.get();
        let sql =
            "SELECT seq, id, content_id, stored FROM entries WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut statement = read.prepare_cached(sql)?;
        let rows = statement.query_map((after, PAGE), committed)?;
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

    pub(super) fn delete(&self, id: i64) -> rusqlite::Result<Option<i64>> {
        let write = self.write.lock();
        let sql = "DELETE FROM entries WHERE id = ?1 RETURNING content_id";
        deleted(&write, sql, [id])
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

/// The content of the entry that `sql` deletes, if it does. It goes to the end of the statement: whether a disk has room for
/// it shows there.
pub(super) fn deleted(
    write: &Connection,
    sql: &str,
    params: impl Params,
) -> rusqlite::Result<Option<i64>> {
    let mut delete = write.prepare_cached(sql)?;
    let contents = delete.query_map(params, |row| row.get(0))?;
    let contents = contents.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(contents.first().copied())
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
