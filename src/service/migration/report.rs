//! What a migration has come to.

use serde::Serialize;

use crate::service::store::Usage;

/// Some entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// How many.
    pub entries: u64,
    /// Bytes of their content.
    pub bytes: u64,
}

impl Moved {
    /// Adds an entry of `size` bytes.
    pub(super) fn add(&mut self, size: u64) {
        self.entries += 1;
        self.bytes += size;
    }

    fn and(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl From<Usage> for Moved {
    fn from(usage: Usage) -> Self {
        Self {
            entries: usage.entries,
            bytes: usage.bytes,
        }
    }
}

/// Both sides, after a migration that has come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrationReport {
    /// What this migration has copied.
    pub copied: Moved,
    /// What an earlier one had copied.
    pub already_there: Moved,
    /// Entries whose content is not all there, and which a service would drop.
    pub left_out: Moved,
    /// Whether what was copied was read again and compared.
    pub verified: bool,
}

impl MigrationReport {
    pub(super) fn new(verified: bool) -> Self {
        Self {
            copied: Moved::default(),
            already_there: Moved::default(),
            left_out: Moved::default(),
            verified,
        }
    }

    /// What the target has.
    pub fn moved(&self) -> Moved {
        self.copied.and(self.already_there)
    }

    /// What the source has.
    pub(super) fn seen(&self) -> Moved {
        self.moved().and(self.left_out)
    }
}
