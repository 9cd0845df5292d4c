//! Bytes on disk between two sides of different speed: a budget, and files without a name.
//!
//! Room is taken from the budget, and on the disk, before a byte is written, and given back when
//! the file is dropped. A spool file has no directory entry, so the kernel removes it whatever
//! happens to the process.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{digest::Hasher, lifecycle::run_blocking};

mod disk;
mod reclaim;

pub(super) use disk::Floor;

/// The budget is counted in pages, since a semaphore counts to 2^32 at once: this allows files of
/// 16 TiB.
const PAGE: u64 = 4 << 10;

/// How often a disk without room is looked at again: others than us may fill and free it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

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
    /// Its disk has less room than that.
    #[error("{size} bytes do not fit on the disk of the spool {dir}, which has {free} bytes free")]
    NoDisk {
        /// What was asked for.
        size: u64,
        /// What there is.
        free: u64,
        /// Where the spool is.
        dir: PathBuf,
    },
    /// Its disk has the room, and would be too full for others.
    #[error(
        "{size} bytes would leave less than {floor} of the {free} bytes that are free on the disk of \
         the spool {dir}; exports leave so much to builds (BUILDKIT_GHA_SPOOL_FREE)"
    )]
    Floor {
        /// What was asked for.
        size: u64,
        /// What there is.
        free: u64,
        /// What must stay free.
        floor: u64,
        /// Where the spool is.
        dir: PathBuf,
    },
    /// The disk failed or is full.
    #[error("the spool on disk failed: {0}")]
    Io(#[from] io::Error),
}

/// A budget of disk space and the directory where it is used.
#[derive(Debug, Clone)]
pub(super) struct Spool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    pages: Arc<Semaphore>,
    total: usize,
    capacity: u64,
    /// What stays free on the disk; held while room is taken there, so that two files do not take the
    /// same.
    floor: Mutex<Floor>,
    /// Files with parts that nobody needs any more.
    reclaimable: reclaim::ReclaimableFiles,
    /// Somebody waited for room in vain, and none was given back since.
    stuck: AtomicBool,
    released: Notify,
    /// How often bytes came or went, or room was given back.
    moved: AtomicU64,
}

impl Spool {
    /// A spool of `capacity` bytes in `dir`.
    pub fn new(dir: PathBuf, capacity: u64) -> Self {
        let total = usize::try_from(capacity / PAGE)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            dir,
            pages: Arc::new(Semaphore::new(total)),
            total,
            capacity,
            floor: Mutex::new(Floor::Bytes(0)),
            reclaimable: reclaim::ReclaimableFiles::default(),
            stuck: AtomicBool::new(false),
            released: Notify::new(),
            moved: AtomicU64::new(0),
        }))
    }

    /// The same spool, which leaves this much free on its disk.
    pub fn leaving(self, floor: Floor) -> Self {
        *self.0.floor.lock() = floor;
        self
    }

    /// The whole budget in bytes.
    pub fn capacity(&self) -> u64 {
        self.0.capacity
    }

    /// A number that changes whenever something moves in the spool.
    pub fn moved(&self) -> u64 {
        self.0.moved.load(Ordering::Relaxed)
    }

    /// Bytes that are in use, in whole pages.
    pub fn used(&self) -> u64 {
        let free = self.0.pages.available_permits();
        (self.0.total - free) as u64 * PAGE
    }

    /// Whether a file of `size` bytes can ever be had, as far as anybody can tell now.
    pub async fn admits(&self, size: u64) -> Result<(), SpoolError> {
        self.pages_of(size)?;
        let spool = Arc::clone(&self.0);
        let free = run_blocking(move || disk::free(&spool.dir)).await?;
        // What the spool itself has on the disk will be free again.
        if size > free.saturating_add(self.used()) {
            return Err(SpoolError::NoDisk {
                size,
                free,
                dir: self.0.dir.clone(),
            });
        }
        Ok(())
    }

    /// A file with room for `size` bytes, waiting until there is room, on a full disk too.
    pub async fn create(&self, size: u64) -> Result<SpoolFile, SpoolError> {
        loop {
            let released = self.0.released.notified();
            let room = self.room(size).await?;
            match self.file(room, size).await {
                Err(SpoolError::Io(error)) if disk::is_full(&error) => {
                    // Either way it is time to look again.
                    let _ = tokio::time::timeout(LOOK_AGAIN, released).await;
                }
                done => return done,
            }
        }
    }

    /// As [`Spool::create`], but waits for room no longer than `wait`, and not for a full disk.
    /// Where somebody has waited in vain the next ones do not wait at all, until room is given
    /// back: each wait holds up builds that have nothing to do with it.
    /// Before that, what uploads have confirmed is given back.
    pub async fn create_within(&self, size: u64, wait: Duration) -> Result<SpoolFile, SpoolError> {
        if let Ok(Ok(room)) = timeout(Duration::ZERO, self.room(size)).await {
            match self.file(room, size).await {
                Err(SpoolError::Floor { .. }) if self.reclaim().await => {}
                Err(SpoolError::Io(error)) if disk::is_full(&error) && self.reclaim().await => {}
                done => return done,
            }
        } else {
            self.reclaim().await;
        }
        let stuck = &self.0.stuck;
        let wait = if stuck.load(Ordering::Relaxed) {
            Duration::ZERO
        } else {
            wait
        };
        let Ok(room) = tokio::time::timeout(wait, self.room(size)).await else {
            stuck.store(true, Ordering::Relaxed);
            return Err(self.full());
        };
        self.file(room?, size).await
    }

    async fn room(&self, size: u64) -> Result<OwnedSemaphorePermit, SpoolError> {
        let pages = self.pages_of(size)?;
        let room = Arc::clone(&self.0.pages).acquire_many_owned(pages).await;
        Ok(room.expect("the semaphore is never closed"))
    }

    async fn file(&self, room: OwnedSemaphorePermit, size: u64) -> Result<SpoolFile, SpoolError> {
        let spool = Arc::clone(&self.0);
        let file = run_blocking(move || {
            let floor = spool.floor.lock();
            spool.check_floor(*floor, size)?;
            Ok::<_, SpoolError>(disk::file(&spool.dir, size)?)
        });
        let file = file.await?;
        Ok(SpoolFile {
            file: Arc::new(file),
            room: Mutex::new(room),
            confirmed_ranges: Mutex::default(),
            release: Release(self.clone()),
        })
    }

    fn pages_of(&self, size: u64) -> Result<u32, SpoolError> {
        let capacity = self.0.capacity;
        let too_large = SpoolError::TooLarge { size, capacity };
        if size > capacity / PAGE * PAGE {
            return Err(too_large);
        }
        u32::try_from(size.div_ceil(PAGE)).map_err(|_| too_large)
    }

    fn touch(&self) {
        self.0.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// The error of who found no room.
    pub fn full(&self) -> SpoolError {
        SpoolError::Full {
            capacity: self.0.capacity,
        }
    }
}

impl Shared {
    /// Whether `size` more bytes leave enough of the disk free.
    fn check_floor(&self, floor: Floor, size: u64) -> Result<(), SpoolError> {
        if matches!(floor, Floor::Bytes(0)) {
            return Ok(());
        }
        let (free, floor) = floor.look(&self.dir)?;
        if free.saturating_sub(size) < floor {
            let dir = self.dir.clone();
            return Err(SpoolError::Floor {
                size,
                free,
                floor,
                dir,
            });
        }
        Ok(())
    }
}

/// A file in the spool and its share of the budget.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: Arc<File>,
    room: Mutex<OwnedSemaphorePermit>,
    confirmed_ranges: Mutex<reclaim::ConfirmedRanges>,
    /// Declared last: it says that the room is free, which it must be by then.
    release: Release,
}

/// Says that room has been given back.
#[derive(Debug)]
struct Release(Spool);

impl Drop for Release {
    fn drop(&mut self) {
        let Spool(spool) = &self.0;
        self.0.touch();
        spool.stuck.store(false, Ordering::Relaxed);
        spool.released.notify_waiters();
    }
}

impl SpoolFile {
    /// Writes `data` at `offset`. Room that was not asked for at creation is taken now, or the
    /// spool is full: a writer in the middle of a file does not wait.
    pub async fn write_at(&self, offset: u64, data: Bytes) -> Result<(), SpoolError> {
        let grows = self.make_room(offset.saturating_add(data.len() as u64))?;
        let file = Arc::clone(&self.file);
        let spool = Arc::clone(&self.release.0.0);
        run_blocking(move || {
            if grows > 0 {
                let floor = *spool.floor.lock();
                spool.check_floor(floor, grows)?;
            }
            Ok(file.write_all_at(&data, offset)?)
        })
        .await
    }

    /// Reads `range`, which must have been written.
    pub async fn read_at(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.release.0.touch();
        let file = Arc::clone(&self.file);
        let len = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // Memory comes from the few threads that run tasks: each of the many that may block would have
        // a heap of its own, which keeps what is freed there.
        let mut buffer = Vec::with_capacity(len);
        run_blocking(move || {
            // Read into memory as it comes: zeroing it first would cost as much as the reading.
            while buffer.len() < len {
                let at = range.start + buffer.len() as u64;
                let room = || rustix::io::pread(&*file, spare_capacity(&mut buffer), at);
                if rustix::io::retry_on_intr(room)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            buffer.truncate(len);
            Ok(buffer.into())
        })
        .await
    }

    /// Writes chunks one after another from `offset` on, and hashes each while it is at hand.
    pub async fn write_hashed(
        &self,
        offset: u64,
        chunks: Vec<Bytes>,
        mut hasher: Hasher,
    ) -> Result<Hasher, SpoolError> {
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.release.0.touch();
        self.make_room(offset.saturating_add(length))?;
        let file = Arc::clone(&self.file);
        run_blocking(move || {
            let mut at = offset;
            for chunk in chunks {
                file.write_all_at(&chunk, at)?;
                hasher.update(&chunk);
                at += chunk.len() as u64;
            }
            Ok(hasher)
        })
        .await
    }

    /// Takes the room that is missing for `size` bytes, and says how much that was.
    fn make_room(&self, size: u64) -> Result<u64, SpoolError> {
        let Release(spool) = &self.release;
        let wanted = spool.pages_of(size)? as usize;
        let given = self.confirmed_ranges().pages;
        let mut room = self.room.lock();
        let missing = wanted.saturating_sub(room.num_permits() + given);
        if missing > 0 {
            let missing = u32::try_from(missing).expect("no more than the pages of `size`");
            let more = Arc::clone(&spool.0.pages)
                .try_acquire_many_owned(missing)
                .map_err(|_| spool.full())?;
            room.merge(more);
        }
        Ok(missing as u64 * PAGE)
    }
}

/// Makes `dir` if it is not there, and tries it.
pub(super) fn prepare(dir: &Path) -> io::Result<()> {
    disk::file(dir, 0).map(drop)
}

/// Hashes where it may take its time.
pub(super) async fn hash(mut hasher: Hasher, data: Bytes) -> io::Result<Hasher> {
    if data.is_empty() {
        return Ok(hasher);
    }
    run_blocking(move || {
        hasher.update(&data);
        Ok(hasher)
    })
    .await
}

#[cfg(test)]
mod tests;
