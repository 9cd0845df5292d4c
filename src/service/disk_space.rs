//! How much room a disk has.

use std::path::Path;

use rustix::fs::statvfs;

/// The room on a disk, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct DiskSpace {
    /// What this user may still write.
    pub(super) free: u64,
    pub(super) size: u64,
}

impl DiskSpace {
    /// That of the disk on which a directory is, if the system says it. Blocks.
    pub(super) fn of(dir: &Path) -> Option<Self> {
        let disk = statvfs(dir).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Some(Self {
            free: bytes(disk.f_bavail),
            size: bytes(disk.f_blocks),
        })
    }
}
