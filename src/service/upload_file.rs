//! The file of an upload, whose bytes go to the disk while more arrive: a commit then finds little
//! left to wait for.
//!
//! A kernel that could not write bytes says so once, and a later sync succeeds without them. So an
//! error of a sync is final ([`ErrorKind::DataLost`]): the file remembers it, and whoever sees it gives the
//! upload up.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::{Mutex, RwLock};
use rustix::fs::{FallocateFlags, fallocate};

use super::{api_error::ApiError, extent::Extent};

/// Bytes that may wait for the disk before they are sent there: enough that a sync's own cost does
/// not count, and a moment's work for any disk.
const UNSYNCED_BYTES: u64 = 64 << 20;

/// What an extent of a content may waste on the disk: a block at either end.
const BLOCKS_OF_AN_EXTENT: u64 = 2 * 4096;

/// How much is copied at once when a content is gathered.
const COPY_BYTES: usize = 1 << 20;

/// Takes bytes at any place, from several threads.
#[derive(Debug)]
pub struct UploadFile {
    file: File,
    /// Bytes that have come since the last sync began.
    unsynced: AtomicU64,
    /// Whether a sync has failed. Locked while one runs.
    lost: Mutex<bool>,
    /// Whether it takes no more. Read while bytes are written.
    closed: RwLock<bool>,
}

impl UploadFile {
    /// A file that is empty.
    pub fn new(file: File) -> Self {
        Self {
            file,
            unsynced: AtomicU64::new(0),
            lost: Mutex::default(),
            closed: RwLock::default(),
        }
    }

    /// Writes all of `data`. One of several writers sees to the disk, and the others go on.
    pub fn write_at(&self, data: &[u8], offset: u64) -> Result<(), ApiError> {
        let closed = self.closed.read();
        if *closed {
            return Err(ApiError::sealed());
        }
        self.file.write_all_at(data, offset)?;
        drop(closed);
        let new = data.len() as u64;
        let unsynced = self.unsynced.fetch_add(new, Ordering::Relaxed) + new;
        if unsynced >= UNSYNCED_BYTES
            && let Some(mut lost) = self.lost.try_lock()
        {
            self.unsynced.store(0, Ordering::Relaxed);
            check(self.file.sync_data(), &mut lost)?;
        }
        Ok(())
    }

    /// Takes nothing more; waits for what is being written.
    pub fn close(&self) {
        *self.closed.write() = true;
    }

    /// Takes bytes again.
    pub fn reopen(&self) {
        *self.closed.write() = false;
    }

    /// Gives the room of some bytes back to the disk, where its file system can do that.
    pub fn punch(&self, extent: Extent) {
        if extent.len == 0 {
            return;
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = fallocate(&self.file, flags, extent.offset, extent.len) {
            tracing::debug!(%error, "bytes that nobody needs stay on the disk");
        }
    }

    /// Leaves nothing in the file but the content that lies in `extents`, and answers where it lies
    /// then. Parts that were replaced or never named would take room for as long as the entry lives.
    pub fn trim(&self, extents: Vec<Extent>) -> Result<Vec<Extent>, ApiError> {
        let stored = self.file.metadata()?.len();
        let content: u64 = extents.iter().map(|extent| extent.len).sum();
        if stored == content {
            return Ok(extents);
        }
        if extents.len() > 1 && extents.len() as u64 * BLOCKS_OF_AN_EXTENT > content {
            return self.gather(&extents, stored, content);
        }
        let mut used: Vec<Extent> = extents.clone();
        used.sort_unstable_by_key(|extent| extent.offset);
        let mut end = 0;
        for extent in used {
            let len = extent.offset.saturating_sub(end);
            self.punch(Extent { offset: end, len });
            end = extent.offset + extent.len;
        }
        self.file.set_len(end)?;
        Ok(extents)
    }

    /// Copies a content of crumbs behind all that is there, which goes: each of them would keep blocks
    /// that hold little else.
    fn gather(
        &self,
        extents: &[Extent],
        stored: u64,
        content: u64,
    ) -> Result<Vec<Extent>, ApiError> {
        let mut buffer = Vec::with_capacity(COPY_BYTES);
        let mut end = stored;
        let mut write = |buffer: &mut Vec<u8>| -> Result<(), ApiError> {
            self.file.write_all_at(buffer, end)?;
            end += buffer.len() as u64;
            buffer.clear();
            Ok(())
        };
        for extent in extents {
            let mut rest = *extent;
            while rest.len > 0 {
                let room = (COPY_BYTES - buffer.len()) as u64;
                let len = rest.len.min(room);
                let start = buffer.len();
                buffer.resize(start + usize::try_from(len).map_err(io::Error::other)?, 0);
                self.file.read_exact_at(&mut buffer[start..], rest.offset)?;
                rest.offset += len;
                rest.len -= len;
                if buffer.len() == COPY_BYTES {
                    write(&mut buffer)?;
                }
            }
        }
        write(&mut buffer)?;
        self.punch(Extent {
            offset: 0,
            len: stored,
        });
        Ok(vec![Extent {
            offset: stored,
            len: content,
        }])
    }

    /// Brings everything to the disk.
    pub fn sync(&self) -> Result<(), ApiError> {
        let mut lost = self.lost.lock();
        check(self.file.sync_all(), &mut lost)
    }
}

fn check(synced: io::Result<()>, lost: &mut bool) -> Result<(), ApiError> {
    let before = std::mem::replace(lost, *lost || synced.is_err());
    match synced {
        Err(error) => Err(ApiError::unsynced(error)),
        Ok(()) if before => Err(ApiError::unsynced(io::Error::other(
            "a sync has failed before",
        ))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::service::api_error::ErrorKind;

    const PIECE: usize = 1 << 20;

    fn write(file: &UploadFile, pieces: std::ops::Range<u64>) -> Result<(), ApiError> {
        let piece = vec![7; PIECE];
        pieces
            .map(|at| at * PIECE as u64)
            .try_for_each(|offset| file.write_at(&piece, offset))
    }

    fn content(file: &UploadFile, extents: &[Extent]) -> Vec<u8> {
        let mut content = Vec::new();
        for extent in extents {
            let mut piece = vec![0; usize::try_from(extent.len).unwrap()];
            file.file.read_exact_at(&mut piece, extent.offset).unwrap();
            content.extend(piece);
        }
        content
    }

    fn blocks_of(file: &UploadFile) -> u64 {
        file.file.metadata().unwrap().blocks() * 512
    }

    #[test]
    fn a_file_keeps_nothing_but_its_content() {
        let file = UploadFile::new(tempfile::tempfile().unwrap());
        write(&file, 0..16).unwrap();
        file.write_at(b"first", 4 << 20).unwrap();
        file.write_at(b"second", (9 << 20) - 6).unwrap();
        // Two pieces of a megabyte each, the later one first.
        let large = [((8 << 20), 1 << 20), (4 << 20, 1 << 20)].map(Extent::from);
        let before = content(&file, &large);
        let trimmed = file.trim(large.to_vec()).unwrap();
        assert_eq!(trimmed, large);
        assert_eq!(content(&file, &trimmed), before);
        assert!(blocks_of(&file) <= 3 << 20, "{}", blocks_of(&file));
        // Two crumbs of it.
        let crumbs = [((9 << 20) - 6, 6), (4 << 20, 5)].map(Extent::from);
        let trimmed = file.trim(crumbs.to_vec()).unwrap();
        assert_eq!(content(&file, &trimmed), b"secondfirst");
        assert_eq!(trimmed.len(), 1);
        assert!(
            blocks_of(&file) <= BLOCKS_OF_AN_EXTENT,
            "{}",
            blocks_of(&file)
        );
        file.trim(Vec::new()).unwrap();
        assert_eq!(file.file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_closed_file_takes_nothing() {
        let file = UploadFile::new(tempfile::tempfile().unwrap());
        file.close();
        let refused = write(&file, 0..1).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Sealed);
        assert_eq!(file.file.metadata().unwrap().len(), 0);
        file.reopen();
        write(&file, 0..1).unwrap();
    }

    #[test]
    fn bytes_are_synced_as_they_come() {
        let file = UploadFile::new(tempfile::tempfile().unwrap());
        let many = UNSYNCED_BYTES / PIECE as u64;
        write(&file, 0..many - 1).unwrap();
        assert_eq!(
            file.unsynced.load(Ordering::Relaxed),
            UNSYNCED_BYTES - PIECE as u64
        );
        write(&file, many - 1..many + 1).unwrap();
        assert_eq!(file.unsynced.load(Ordering::Relaxed), PIECE as u64);
        file.sync().unwrap();
    }

    /// `/dev/null` takes bytes and cannot be synced.
    #[test]
    fn a_sync_that_fails_is_an_error_of_its_own() {
        let null = File::options().write(true).open("/dev/null").unwrap();
        let file = UploadFile::new(null);
        let many = UNSYNCED_BYTES / PIECE as u64;
        write(&file, 0..many - 1).unwrap();
        let failed = write(&file, many - 1..many);
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::DataLost);
        assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::DataLost);
    }

    #[test]
    fn a_sync_that_succeeds_brings_nothing_back() {
        let mut lost = false;
        check(Ok(()), &mut lost).unwrap();
        check(Err(io::ErrorKind::Other.into()), &mut lost).unwrap_err();
        let after = check(Ok(()), &mut lost);
        assert_eq!(after.unwrap_err().kind(), ErrorKind::DataLost);
    }
}
