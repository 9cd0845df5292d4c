//! The disk under a spool: files without a name, with their blocks reserved.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::cache::config::{SPOOL_FREE_BYTES, SPOOL_FREE_MAX_BYTES, SPOOL_FREE_PART};

/// For directories that are made: where the spool is in buildkitd's root, and that is not there yet,
/// buildkitd finds it as it would have made it.
const DIR_MODE: u32 = 0o700;

/// A new file in `dir` with room for `size` bytes on the disk, so that a full disk is met before
/// the first byte and not in the middle. A directory that somebody has removed is made again.
pub(super) fn file(dir: &Path, size: u64) -> io::Result<File> {
    let file = in_dir(dir, || tempfile::tempfile_in(dir))?;
    reserve(&file, size)?;
    Ok(file)
}

/// What is left free on a disk, whatever is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) enum Floor {
    /// So many bytes.
    Bytes(u64),
    /// One [`SPOOL_FREE_PART`]th of the disk, from [`SPOOL_FREE_BYTES`] to [`SPOOL_FREE_MAX_BYTES`].
    Usual,
}

impl Floor {
    /// The floor of this many bytes, or the usual one.
    pub fn from_setting(bytes: Option<u64>) -> Self {
        bytes.map_or(Self::Usual, Self::Bytes)
    }

    fn bytes(self, disk: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Usual => (disk / SPOOL_FREE_PART).clamp(SPOOL_FREE_BYTES, SPOOL_FREE_MAX_BYTES),
        }
    }

    /// How many bytes the disk of `dir` has free, and how many of these must stay so.
    pub fn measure(self, dir: &Path) -> io::Result<(u64, u64)> {
        let disk = in_dir(dir, || statvfs(dir).map_err(io::Error::from))?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok((bytes(disk.f_bavail), self.bytes(bytes(disk.f_blocks))))
    }
}

/// How many bytes the disk of `dir` has free for us.
pub(super) fn free(dir: &Path) -> io::Result<u64> {
    Ok(Floor::Bytes(0).measure(dir)?.0)
}

/// True if the disk, or our share of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

fn in_dir<T>(dir: &Path, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match work() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new()
                .recursive(true)
                .mode(DIR_MODE)
                .create(dir)?;
            work()
        }
        done => done,
    }
}

fn reserve(file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    // The size of the file stays what was written, so that nothing else can be read from it.
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, size).map_err(io::Error::from) {
        Err(error) if is_full(&error) => Err(error),
        // Not every file system can; there the disk is met in the middle.
        _ => Ok(()),
    }
}
