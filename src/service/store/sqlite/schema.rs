//! The tables, and how those of an older version become these.

use rusqlite::{Connection, Transaction};

use super::rows::encode;

/// Counts up when the schema changes.
const VERSION: i64 = 2;

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

/// Brings the tables of a database to this version. Only what is new is written: a database on a full
/// disk must open.
pub(super) fn bring_up(connection: &mut Connection) -> rusqlite::Result<()> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == VERSION {
        return Ok(());
    }
    let all = connection.transaction()?;
    match found {
        0 => {
            all.execute_batch(SCHEMA)?;
            all.execute_batch(CONTENTS)?;
        }
        // A service of version 1 sets the version back and changes nothing else.
        1 if all.table_exists(None, "contents")? => {}
        1 => from_version_1(&all)?,
        newer => return Err(unknown(newer)),
    }
    all.pragma_update(None, "user_version", VERSION)?;
    all.commit()
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

fn unknown(version: i64) -> rusqlite::Error {
    let message = format!("its version is {version}, which a newer buildkit-gha has made");
    rusqlite::Error::ToSqlConversionFailure(message.into())
}
