//! An entry, as stores know it.

use jiff::Timestamp;

use super::{blob_store::Published, extent::Extent};
use crate::protocol::key::IndexName;

/// What makes an entry unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EntryName {
    /// `owner/repo`.
    pub(crate) repository: String,
    /// The ref.
    pub(crate) scope: String,
    pub(crate) key: String,
    pub(crate) version: String,
}

impl EntryName {
    /// Of an index of BuildKit's, what it shares with those that it replaces, beside repository, scope and version.
    pub(super) fn index_base(&self) -> Option<String> {
        IndexName::parse(&self.key).map(|index| index.base)
    }
}

/// A committed entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its id, which was that of its reservation.
    pub(crate) id: i64,
    /// The id of its content in the blob store: that of the upload that has brought it, which may have become another
    /// entry (ADR 78).
    pub(crate) content: i64,
    pub(crate) name: EntryName,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// What its content needs in the blob store: see [`super::blob_store::Published`].
    pub(crate) stored: u64,
    /// When it was committed.
    pub(crate) created: Timestamp,
    /// When it was last found.
    pub(crate) accessed: Timestamp,
}

impl Entry {
    /// Its content, which lies in `extents`.
    pub(crate) fn published(&self, extents: Vec<Extent>) -> Published {
        let stored = self.stored;
        Published { extents, stored }
    }
}

#[cfg(test)]
impl Entry {
    /// An entry of one byte.
    pub(crate) fn of_one_byte(id: i64, key: &str) -> Self {
        let name = EntryName {
            repository: "o/r".to_owned(),
            scope: "main".to_owned(),
            key: key.to_owned(),
            version: "v".to_owned(),
        };
        Self {
            id,
            content: id,
            name,
            size: 1,
            stored: 1,
            created: Timestamp::UNIX_EPOCH,
            accessed: Timestamp::UNIX_EPOCH,
        }
    }
}

/// An entry in the order of all commits, which decides which of several is the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Its place in that order.
    pub(crate) position: i64,
    pub(crate) id: i64,
    /// Its content: [`Entry::content`].
    pub(crate) content: i64,
    /// What its content needs: [`Entry::stored`].
    pub(crate) stored: u64,
}
