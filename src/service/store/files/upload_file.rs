//! The file of an upload, whose bytes go to the disk while more arrive: a commit then finds little
//! left to wait for.
//!
//! A kernel that could not write bytes says so once, and a later sync succeeds without them. So an
//! error of a sync is final ([`StoreErrorKind::Lost`]): the file remembers it, and whoever sees it gives the
//! upload up.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use crate::service::store::{
    error::{StoreError, StoreErrorKind, StoreKind},
    extent::Extent,
    part_file::{PartFile, PartSink},
};

/// Bytes that may wait for the disk before they are sent there: enough that a sync's own cost does
/// not count, and a moment's work for any disk.
const UNSYNCED_BYTES: u64 = 64 << 20;

/// What an extent of a content may waste on the disk: a block at either end.
const BLOCKS_OF_AN_EXTENT: u64 = 2 * 4096;

/// How much is copied at once when a content is gathered.
const COPY_BYTES: usize = 1 << 20;

/// Takes bytes at any place, from several threads.
#[derive(Debug)]
pub(super) struct UploadFile {
    parts: PartFile,
    /// Bytes that have come since the last sync began.
    unsynced: AtomicU64,
    /// Whether a sync has failed. Locked while one runs.
    lost: Mutex<bool>,
}

impl PartSink for UploadFile {
    fn allocate(&self, len: u64) -> Result<Extent, StoreError> {
        self.parts.allocate(len)
    }

    /// One of several writers sees to the disk, and the others go on.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), StoreError> {
        self.parts.write_at(data, offset)?;
        let new = data.len() as u64;
        let unsynced = self.unsynced.fetch_add(new, Ordering::Relaxed) + new;
        if unsynced >= UNSYNCED_BYTES
            && let Some(mut lost) = self.lost.try_lock()
        {
            self.unsynced.store(0, Ordering::Relaxed);
            check(self.file().sync_data(), &mut lost)?;
        }
        Ok(())
    }

    fn abandon(&self, extent: Extent) {
        self.release(extent);
    }
}

impl UploadFile {
    /// A file that is empty, and will be the object `id`.
    pub(super) fn new(file: File, id: i64) -> Self {
        Self {
            parts: PartFile::new(file, id),
            unsynced: AtomicU64::new(0),
            lost: Mutex::default(),
        }
    }

    fn file(&self) -> &File {
        self.parts.file()
    }

    /// Takes nothing more; waits for what is being written.
    pub(super) fn close(&self) {
        self.parts.close();
    }

    /// Takes bytes again.
    pub(super) fn reopen(&self) {
        self.parts.reopen();
    }

    /// Gives the room of an extent back to the disk. One that is closed gives nothing back but in
    /// [`Self::trim`].
    pub(super) fn release(&self, extent: Extent) {
        self.parts.release(extent);
    }

    /// Leaves nothing in the file but the content that lies in `extents`. Parts that were replaced or never
    /// named would take room for as long as the entry lives. Nothing else can be had of it after this.
    pub(super) fn trim(&self, extents: Vec<Extent>) -> io::Result<()> {
        let content: u64 = extents.iter().map(|extent| extent.len).sum();
        if self.file().metadata()?.len() == content {
            return Ok(());
        }
        let mut used = extents;
        used.sort_unstable_by_key(|extent| extent.offset);
        let mut end = 0;
        for extent in used {
            self.parts.punch(end, extent.offset.saturating_sub(end));
            end = extent.end();
        }
        self.file().set_len(end)
    }

    /// Where a content lies that is easy to keep: one of crumbs among other things is copied to a place of its
    /// own, since each of them would keep blocks that hold little else. The originals stay.
    pub(super) fn gather_crumbs(&self, extents: Vec<Extent>) -> Result<Vec<Extent>, StoreError> {
        let content: u64 = extents.iter().map(|extent| extent.len).sum();
        let are_crumbs = extents.len() > 1 && extents.len() as u64 * BLOCKS_OF_AN_EXTENT > content;
        if !are_crumbs || self.file().metadata()?.len() == content {
            return Ok(extents);
        }
        let place = self.allocate(content)?;
        self.gather(&extents, place.offset)?;
        Ok(vec![place])
    }

    /// Copies a content to `offset`, where nothing is yet.
    fn gather(&self, extents: &[Extent], offset: u64) -> Result<(), StoreError> {
        let mut buffer = Vec::with_capacity(COPY_BYTES);
        let mut end = offset;
        let mut write = |buffer: &mut Vec<u8>| -> io::Result<()> {
            self.file().write_all_at(buffer, end)?;
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
                self.file()
                    .read_exact_at(&mut buffer[start..], rest.offset)?;
                rest.offset += len;
                rest.len -= len;
                if buffer.len() == COPY_BYTES {
                    write(&mut buffer)?;
                }
            }
        }
        Ok(write(&mut buffer)?)
    }

    /// Brings everything to the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let mut lost = self.lost.lock();
        check(self.file().sync_all(), &mut lost)
    }
}

fn check(synced: io::Result<()>, lost: &mut bool) -> Result<(), StoreError> {
    let before = std::mem::replace(lost, *lost || synced.is_err());
    match synced {
        Err(error) => Err(StoreError::from(error).into_lost()),
        Ok(()) if before => Err(StoreError::with_source(
            StoreKind::Storage,
            StoreErrorKind::Lost,
            "a sync has failed before",
        )),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const PIECE: usize = 1 << 20;

    fn write(file: &UploadFile, pieces: std::ops::Range<u64>) -> Result<(), StoreError> {
        let piece = vec![7; PIECE];
        pieces.into_iter().try_for_each(|_| {
            let place = file.allocate(PIECE as u64)?;
            file.write_at(&piece, place.offset)
        })
    }

    fn new_file() -> UploadFile {
        UploadFile::new(tempfile::tempfile().unwrap(), 1)
    }

    fn content(file: &UploadFile, extents: &[Extent]) -> Vec<u8> {
        let mut content = Vec::new();
        for extent in extents {
            let mut piece = vec![0; usize::try_from(extent.len).unwrap()];
            file.file()
                .read_exact_at(&mut piece, extent.offset)
                .unwrap();
            content.extend(piece);
        }
        content
    }

    fn blocks_of(file: &UploadFile) -> u64 {
        file.file().metadata().unwrap().blocks() * 512
    }

    #[test]
    fn a_file_keeps_nothing_but_its_content() {
        let file = new_file();
        write(&file, 0..16).unwrap();
        file.write_at(b"first", 4 << 20).unwrap();
        file.write_at(b"second", (9 << 20) - 6).unwrap();
        // Two pieces of a megabyte each, the later one first.
        let large = [((8 << 20), 1 << 20), (4 << 20, 1 << 20)].map(Extent::from);
        let before = content(&file, &large);
        assert_eq!(file.gather_crumbs(large.to_vec()).unwrap(), large);
        file.trim(large.to_vec()).unwrap();
        assert_eq!(content(&file, &large), before);
        assert!(blocks_of(&file) <= 3 << 20, "{}", blocks_of(&file));
        // Two crumbs of it.
        let crumbs = [((9 << 20) - 6, 6), (4 << 20, 5)].map(Extent::from);
        let gathered = file.gather_crumbs(crumbs.to_vec()).unwrap();
        assert_eq!(content(&file, &gathered), b"secondfirst");
        assert_eq!(content(&file, &large), before, "as if nothing had been");
        assert_eq!(gathered.len(), 1);
        file.trim(gathered.clone()).unwrap();
        assert_eq!(content(&file, &gathered), b"secondfirst");
        assert!(
            blocks_of(&file) <= BLOCKS_OF_AN_EXTENT,
            "{}",
            blocks_of(&file)
        );
        file.trim(Vec::new()).unwrap();
        assert_eq!(file.file().metadata().unwrap().len(), 0);
    }

    /// A part that ends late, of an upload that is an entry by now.
    #[test]
    fn what_is_released_late_takes_nothing_of_a_content() {
        let file = new_file();
        write(&file, 0..1).unwrap();
        let late = file.allocate(PIECE as u64).unwrap();
        let crumbs = [(5, 5), (0, 5)].map(Extent::from);
        file.close();
        let gathered = file.gather_crumbs(crumbs.to_vec()).unwrap();
        assert!(
            gathered[0].offset >= late.end(),
            "a place that nobody has had"
        );
        file.release(late);
        file.release(gathered[0]);
        assert_eq!(content(&file, &gathered), vec![7; 10]);
        file.reopen();
        file.release(gathered[0]);
        assert_eq!(content(&file, &gathered), vec![0; 10]);
    }

    #[test]
    fn a_closed_file_takes_nothing() {
        let file = new_file();
        file.close();
        let refused = write(&file, 0..1).unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Closed);
        assert_eq!(file.file().metadata().unwrap().len(), 0);
        file.reopen();
        write(&file, 0..1).unwrap();
    }

    #[test]
    fn bytes_are_synced_as_they_come() {
        let file = new_file();
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
        let file = UploadFile::new(null, 1);
        let many = UNSYNCED_BYTES / PIECE as u64;
        write(&file, 0..many - 1).unwrap();
        let failed = write(&file, many - 1..many);
        assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Lost);
        assert_eq!(file.sync().unwrap_err().kind(), StoreErrorKind::Lost);
    }

    #[test]
    fn a_sync_that_succeeds_brings_nothing_back() {
        let mut lost = false;
        check(Ok(()), &mut lost).unwrap();
        check(Err(io::ErrorKind::Other.into()), &mut lost).unwrap_err();
        let after = check(Ok(()), &mut lost);
        assert_eq!(after.unwrap_err().kind(), StoreErrorKind::Lost);
    }
}
