//! Rows and columns as values, and back.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio_postgres::{Error, Row};

use crate::service::store::{
    entry_store::{Committed, Entry, EntryName, Usage},
    extent::{Extent, ObjectId},
};

/// Bytes of an extent in the database.
const EXTENT_BYTES: usize = 24;

/// The columns that [`entry`] reads, in its order, of the table `e`.
macro_rules! columns {
    () => {
        "e.id, e.repository, e.scope, e.version, e.key, e.size, e.stored, e.created_at, e.accessed_at, \
         e.content_id"
    };
}
pub(super) use columns;

/// The turn of whoever removes the entries that have `$1` in a column: their repository is locked before any row is, for
/// the rest of the transaction. An insert takes the same lock by a trigger.
macro_rules! lock_repository {
    () => {
        lock_repository!("id")
    };
    ($column:literal) => {
        concat!(
            "WITH locked AS MATERIALIZED ( \
             SELECT id, pg_advisory_xact_lock(hashtextextended(repository, 0)) \
             FROM entries WHERE ",
            $column,
            " = $1) "
        )
    };
}
pub(super) use lock_repository;

pub(super) fn time(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(millisecond).unwrap_or(Timestamp::MIN)
}

pub(super) fn entry(row: &Row) -> Result<Entry, Error> {
    Ok(Entry {
        id: row.try_get(0)?,
        content: row.try_get(9)?,
        name: EntryName {
            repository: row.try_get(1)?,
            scope: row.try_get(2)?,
            version: row.try_get(3)?,
            key: row.try_get(4)?,
        },
        size: row.try_get::<_, i64>(5)?.cast_unsigned(),
        stored: row.try_get::<_, i64>(6)?.cast_unsigned(),
        created: time(row.try_get(7)?),
        accessed: time(row.try_get(8)?),
    })
}

/// A row of `seq, id, content_id, stored`.
pub(super) fn committed(row: &Row) -> Result<Committed, Error> {
    Ok(Committed {
        position: row.try_get(0)?,
        id: row.try_get(1)?,
        content: row.try_get(2)?,
        stored: row.try_get::<_, i64>(3)?.cast_unsigned(),
    })
}

/// Bytes and number, from the column `first` on.
pub(super) fn usage(row: &Row, first: usize) -> Result<Usage, Error> {
    let number = |column| Ok::<_, Error>(row.try_get::<_, i64>(column)?.cast_unsigned());
    Ok(Usage {
        bytes: number(first)?,
        entries: number(first + 1)?,
    })
}

/// All of a name but the key, in 32 bytes: with names of several thousand bytes no index could have a row.
pub(super) fn namespace(repository: &str, scope: &str, version: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in [repository, scope, version] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

/// The namespace of a name.
pub(super) fn namespace_of(name: &EntryName) -> Vec<u8> {
    namespace(&name.repository, &name.scope, &name.version)
}

/// Objects, offsets and lengths as the database has them: eight bytes each, little-endian.
pub(super) fn encode(extents: &[Extent]) -> Vec<u8> {
    let numbers = |extent: &Extent| [extent.object.0.cast_unsigned(), extent.offset, extent.len];
    let numbers = extents.iter().flat_map(numbers);
    numbers.flat_map(u64::to_le_bytes).collect()
}

/// What [`encode`] has made.
pub(super) fn decode(extents: &[u8]) -> Vec<Extent> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    let (extents, _) = extents.as_chunks::<EXTENT_BYTES>();
    let extent = |extent: &[u8; EXTENT_BYTES]| Extent {
        object: ObjectId(number(&extent[..8]).cast_signed()),
        offset: number(&extent[8..16]),
        len: number(&extent[16..]),
    };
    extents.iter().map(extent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_come_back_as_they_were() {
        let extent = |object, offset, len| Extent {
            object: ObjectId(object),
            offset,
            len,
        };
        let extents = [extent(-1, 0, u64::MAX), extent(7, 1 << 40, 1)];
        assert_eq!(decode(&encode(&extents)), extents);
    }

    #[test]
    fn parts_of_a_name_do_not_run_into_each_other() {
        assert_ne!(namespace("a", "bc", "d"), namespace("ab", "c", "d"));
        assert_eq!(namespace("a", "b", "c"), namespace("a", "b", "c"));
    }
}
