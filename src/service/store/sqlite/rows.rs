//! Rows and columns as values, and back.

use jiff::Timestamp;
use rusqlite::Row;

use crate::service::store::{
    entry_store::{Committed, Entry, EntryName, Usage},
    extent::{Extent, ObjectId},
};

/// Bytes of an extent in the database.
const EXTENT_BYTES: usize = 16;

/// The columns that [`entry`] reads, in its order.
macro_rules! columns {
    () => {
        "id, repository, scope, version, key, size, stored, created_at, accessed_at, content_id"
    };
}
pub(super) use columns;

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let millisecond = row.get(column)?;
    Timestamp::from_millisecond(millisecond)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, millisecond))
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get(0)?,
        content: row.get(9)?,
        name: EntryName {
            repository: row.get(1)?,
            scope: row.get(2)?,
            version: row.get(3)?,
            key: row.get(4)?,
        },
        size: row.get::<_, i64>(5)?.cast_unsigned(),
        stored: row.get::<_, i64>(6)?.cast_unsigned(),
        created: time(row, 7)?,
        accessed: time(row, 8)?,
    })
}

/// A row of `seq, id, content_id, stored`.
pub(super) fn committed(row: &Row<'_>) -> rusqlite::Result<Committed> {
    Ok(Committed {
        position: row.get(0)?,
        id: row.get(1)?,
        content: row.get(2)?,
        stored: row.get::<_, i64>(3)?.cast_unsigned(),
    })
}

/// Bytes and number, from the column `first` on.
pub(super) fn usage(row: &Row<'_>, first: usize) -> rusqlite::Result<Usage> {
    let number = |column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.cast_unsigned());
    Ok(Usage {
        bytes: number(first)?,
        entries: number(first + 1)?,
    })
}

/// Offsets and lengths as the database has them.
pub(super) fn encode(extents: impl IntoIterator<Item = (u64, u64)>) -> Vec<u8> {
    let both = extents.into_iter().flat_map(|(offset, len)| [offset, len]);
    both.flat_map(u64::to_le_bytes).collect()
}

/// The extents of the content that lies in `object`.
pub(super) fn decode(object: ObjectId, extents: &[u8]) -> Vec<Extent> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    let (extents, _) = extents.as_chunks::<EXTENT_BYTES>();
    let extent = |extent: &[u8; EXTENT_BYTES]| Extent {
        object,
        offset: number(&extent[..8]),
        len: number(&extent[8..]),
    };
    extents.iter().map(extent).collect()
}
