//! Bytes on disk between two sides of different speed: a budget, and files without a name.
//!
//! Room is taken from the budget before a byte is written and given back when the file is
//! dropped. A spool file has no directory entry, so the kernel removes it whatever happens to
//! the process.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget is counted in pages, since a semaphore counts to 2^32 at once: this allows files of
/// 16 TiB.
const PAGE: u64 = 4 << 10;

/// Why bytes are not in the spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Others have the room.
    #[error("the spool of {capacity} bytes is full")]
    Full {
        /// The whole budget.
        capacity: u64,
    },
    /// It would not fit even if the spool were empty.
    #[error("{size} bytes do not fit in the spool of {capacity} bytes")]
    TooLarge {
        /// What was asked for.
        size: u64,
        /// The whole budget.
        capacity: u64,
    },
    /// The disk failed or is full.
    #[error("the spool on disk failed: {0}")]
    Io(#[from] io::Error),
}

/// A budget of disk space and the directory where it is used.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    dir: Arc<PathBuf>,
    pages: Arc<Semaphore>,
    total: usize,
    capacity: u64,
}

impl Spool {
    /// A spool of `capacity` bytes in `dir`, which must exist.
    pub fn new(dir: PathBuf, capacity: u64) -> Self {
        let total = usize::try_from(capacity / PAGE)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        Self {
            dir: Arc::new(dir),
            pages: Arc::new(Semaphore::new(total)),
            total,
            capacity,
        }
    }

    /// The whole budget in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes that are in use, in whole pages.
    pub fn used(&self) -> u64 {
        let free = self.pages.available_permits();
        (self.total - free) as u64 * PAGE
    }

    /// A file with room for `size` bytes, waiting until there is room.
    pub async fn create(&self, size: u64) -> Result<SpoolFile, SpoolError> {
        let room = self.room(size).await?;
        self.file(room).await
    }

    /// As [`Spool::create`], but waits for room no longer than `wait`.
    pub async fn create_within(&self, size: u64, wait: Duration) -> Result<SpoolFile, SpoolError> {
        let room = tokio::time::timeout(wait, self.room(size)).await;
        self.file(room.map_err(|_| self.full())??).await
    }

    async fn room(&self, size: u64) -> Result<OwnedSemaphorePermit, SpoolError> {
        let pages = self.pages_of(size)?;
        let room = Arc::clone(&self.pages).acquire_many_owned(pages).await;
        Ok(room.expect("the semaphore is never closed"))
    }

    async fn file(&self, room: OwnedSemaphorePermit) -> Result<SpoolFile, SpoolError> {
        let dir = Arc::clone(&self.dir);
        let file = blocking(move || tempfile::tempfile_in(dir.as_path())).await?;
        Ok(SpoolFile {
            file: Arc::new(file),
            room: Mutex::new(room),
            spool: self.clone(),
        })
    }

    fn pages_of(&self, size: u64) -> Result<u32, SpoolError> {
        let too_large = SpoolError::TooLarge {
            size,
            capacity: self.capacity,
        };
        if size > self.capacity / PAGE * PAGE {
            return Err(too_large);
        }
        u32::try_from(size.div_ceil(PAGE)).map_err(|_| too_large)
    }

    fn full(&self) -> SpoolError {
        SpoolError::Full {
            capacity: self.capacity,
        }
    }
}

/// A file in the spool and its share of the budget.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: Arc<File>,
    room: Mutex<OwnedSemaphorePermit>,
    spool: Spool,
}

impl SpoolFile {
    /// Writes `data` at `offset`. Room that was not asked for at creation is taken now, or the
    /// spool is full: a writer in the middle of a file does not wait.
    pub async fn write_at(&self, offset: u64, data: Bytes) -> Result<(), SpoolError> {
        self.make_room(offset.saturating_add(data.len() as u64))?;
        let file = Arc::clone(&self.file);
        Ok(blocking(move || file.write_all_at(&data, offset)).await?)
    }

    /// Reads `range`, which must have been written.
    pub async fn read_at(&self, range: Range<u64>) -> io::Result<Bytes> {
        let file = Arc::clone(&self.file);
        let len = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        blocking(move || {
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, range.start)?;
            Ok(buffer.into())
        })
        .await
    }

    fn make_room(&self, size: u64) -> Result<(), SpoolError> {
        let wanted = self.spool.pages_of(size)? as usize;
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = wanted.saturating_sub(room.num_permits());
        if missing > 0 {
            let missing = u32::try_from(missing).expect("no more than the pages of `size`");
            let more = Arc::clone(&self.spool.pages)
                .try_acquire_many_owned(missing)
                .map_err(|_| self.spool.full())?;
            room.merge(more);
        }
        Ok(())
    }
}

/// Runs disk work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(pages: u64) -> Spool {
        Spool::new(std::env::temp_dir(), pages * PAGE)
    }

    #[tokio::test]
    async fn bytes_come_back() {
        let file = spool(4).create(3).await.unwrap();
        file.write_at(0, Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(&file.read_at(1..3).await.unwrap()[..], b"bc");
        assert!(file.read_at(1..4).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_taken_before_and_given_back_after() {
        let spool = spool(2);
        let first = spool.create(PAGE + 1).await.unwrap();
        let wait = Duration::from_secs(1);
        assert!(matches!(
            spool.create_within(1, wait).await,
            Err(SpoolError::Full { .. })
        ));
        drop(first);
        assert_eq!(spool.used(), 0);
        spool.create_within(1, wait).await.unwrap();
        assert!(matches!(
            spool.create(3 * PAGE).await,
            Err(SpoolError::TooLarge { .. })
        ));
    }

    #[tokio::test]
    async fn a_file_that_grows_takes_room_as_it_does() {
        let spool = spool(2);
        let file = spool.create(0).await.unwrap();
        let page = Bytes::from(vec![7; 4 << 10]);
        file.write_at(0, page.clone()).await.unwrap();
        let other = spool.create(1).await.unwrap();
        assert!(matches!(
            file.write_at(PAGE, page.clone()).await,
            Err(SpoolError::Full { .. })
        ));
        drop(other);
        file.write_at(PAGE, page).await.unwrap();
        assert_eq!(spool.used(), 2 * PAGE);
    }
}
