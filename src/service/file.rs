//! The file of an upload, whose bytes go to the disk while more arrive: a commit then finds little
//! left to wait for.
//!
//! A kernel that could not write bytes says so once, and a later sync succeeds without them. So an
//! error of a sync is final ([`Error::Unsynced`]): the file remembers it, and whoever sees it gives the
//! upload up.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::error::Error;

/// Bytes that may wait for the disk before they are sent there: enough that a sync's own cost does
/// not count, and a moment's work for any disk.
const UNSYNCED_BYTES: u64 = 64 << 20;

/// Takes bytes at any place, from several threads.
#[derive(Debug)]
pub struct UploadFile {
    file: File,
    /// Bytes that have come since the last sync began.
    unsynced: AtomicU64,
    /// Whether a sync has failed. Locked while one runs.
    lost: Mutex<bool>,
}

impl UploadFile {
    /// A file that is empty.
    pub fn new(file: File) -> Self {
        Self {
            file,
            unsynced: AtomicU64::new(0),
            lost: Mutex::default(),
        }
    }

    /// Writes all of `data`. One of several writers sees to the disk, and the others go on.
    pub fn write_at(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        self.file.write_all_at(data, offset)?;
        let new = data.len() as u64;
        let unsynced = self.unsynced.fetch_add(new, Ordering::Relaxed) + new;
        if unsynced >= UNSYNCED_BYTES
            && let Ok(mut lost) = self.lost.try_lock()
        {
            self.unsynced.store(0, Ordering::Relaxed);
            check(self.file.sync_data(), &mut lost)?;
        }
        Ok(())
    }

    /// Brings everything to the disk.
    pub fn sync(&self) -> Result<(), Error> {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        check(self.file.sync_all(), &mut lost)
    }
}

fn check(synced: io::Result<()>, lost: &mut bool) -> Result<(), Error> {
    let before = std::mem::replace(lost, *lost || synced.is_err());
    match synced {
        Err(error) => Err(match Error::from(error) {
            Error::Io(error) => Error::Unsynced(error),
            other => other,
        }),
        Ok(()) if before => Err(Error::Unsynced(io::Error::other(
            "a sync has failed before",
        ))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 1 << 20;

    fn write(file: &UploadFile, pieces: std::ops::Range<u64>) -> Result<(), Error> {
        let piece = vec![7; PIECE];
        pieces
            .map(|at| at * PIECE as u64)
            .try_for_each(|offset| file.write_at(&piece, offset))
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
        assert!(matches!(failed, Err(Error::Unsynced(_))), "{failed:?}");
        assert!(matches!(file.sync(), Err(Error::Unsynced(_))));
    }

    #[test]
    fn a_sync_that_succeeds_brings_nothing_back() {
        let mut lost = false;
        check(Ok(()), &mut lost).unwrap();
        check(Err(io::ErrorKind::Other.into()), &mut lost).unwrap_err();
        let after = check(Ok(()), &mut lost);
        assert!(matches!(after, Err(Error::Unsynced(_))), "{after:?}");
    }
}
