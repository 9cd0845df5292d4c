//! A spool file that writers append to while a reader reads what is there already.
//!
//! The reader never gets the last byte before a writer has said that the whole is right. So an
//! upload runs beside the bytes that arrive, and yet cannot finish with wrong ones.
//!
//! All builds that write the same layer at the same time feed one file: each appends only what
//! lies beyond its end, and the file goes on as long as one of them is left. A writer appends only
//! to bytes whose hash is that of its own, so what one has begun wrong no other goes on with.

use std::{
    io,
    ops::Range,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, watch};

use super::spool::{SpoolError, SpoolFile, hash};
use crate::{
    actions::Source,
    digest::{Digest, Hasher},
};

/// How far the file is.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    written: u64,
    verified: bool,
}

/// The file and what stands in it.
struct Feed {
    file: Arc<SpoolFile>,
    mark: watch::Sender<Mark>,
    /// The hash of all bytes in the file. Locked while a writer appends.
    head: Mutex<Hasher>,
    verified: Arc<AtomicBool>,
}

/// One who writes. When the last one is dropped before [`Writer::verified`], the reader gets an
/// error.
pub(super) struct TailWriter {
    feed: Arc<Feed>,
    /// How many bytes this one has brought.
    brought: u64,
}

/// Lets more writers join.
#[derive(Clone)]
pub(super) struct JoinHandle {
    feed: Weak<Feed>,
    verified: Arc<AtomicBool>,
}

/// The side that reads.
pub(super) struct TailReader {
    file: Arc<SpoolFile>,
    mark: watch::Receiver<Mark>,
}

/// Why a writer's bytes are not in the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum TailError {
    /// The disk failed, or there is no room.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Another writer has begun with other bytes; one of the two is wrong.
    #[error("another build is writing other bytes as this layer")]
    Diverged,
}

impl From<io::Error> for TailError {
    fn from(error: io::Error) -> Self {
        Self::Spool(error.into())
    }
}

/// Both sides of `file`, which is empty, and the way in for others.
pub(super) fn tail(file: SpoolFile) -> (TailWriter, JoinHandle, TailReader) {
    let file = Arc::new(file);
    let (mark, receiver) = watch::channel(Mark::default());
    let verified = Arc::<AtomicBool>::default();
    let feed = Arc::new(Feed {
        file: Arc::clone(&file),
        mark,
        head: Mutex::default(),
        verified: Arc::clone(&verified),
    });
    let gate = JoinHandle {
        feed: Arc::downgrade(&feed),
        verified,
    };
    let reader = TailReader {
        file,
        mark: receiver,
    };
    (TailWriter { feed, brought: 0 }, gate, reader)
}

/// The reading side of a file that has all its `size` bytes, and a way in that is closed.
pub(super) fn tail_of_whole(file: Arc<SpoolFile>, size: u64) -> (JoinHandle, TailReader) {
    let gate = JoinHandle {
        feed: Weak::new(),
        verified: Arc::new(AtomicBool::new(true)),
    };
    let (_, mark) = watch::channel(Mark {
        written: size,
        verified: true,
    });
    (gate, TailReader { file, mark })
}

impl JoinHandle {
    /// One more writer, who begins at the first byte; `None` if nobody writes any more.
    pub fn join(&self) -> Option<TailWriter> {
        let feed = self.feed.upgrade()?;
        Some(TailWriter { feed, brought: 0 })
    }

    /// True if the whole is there and right.
    pub fn is_verified(&self) -> bool {
        self.verified.load(Ordering::Acquire)
    }
}

impl TailWriter {
    /// True if nobody will read any more.
    pub fn is_abandoned(&self) -> bool {
        self.feed.mark.is_closed()
    }

    /// Takes the writer's next bytes. `before` has hashed all that it has brought so far; the
    /// answer has hashed these too, whatever becomes of them.
    pub async fn write(
        &mut self,
        before: Hasher,
        data: Bytes,
    ) -> io::Result<(Hasher, Result<(), TailError>)> {
        let mut head = self.feed.head.lock().await;
        let written = self.feed.mark.borrow().written;
        let ahead = usize::try_from(written - self.brought).unwrap_or(usize::MAX);
        self.brought += data.len() as u64;
        let known = data.slice(..ahead.min(data.len()));
        let new = data.slice(known.len()..);
        let hasher = hash(before, known).await?;
        if new.is_empty() {
            return Ok((hasher, Ok(())));
        }
        if hasher.clone().finish() != head.clone().finish() {
            return Ok((hash(hasher, new).await?, Err(TailError::Diverged)));
        }
        // The writer waits for the answer before it sends more, so both run at once.
        let (hasher, appended) = tokio::join!(
            hash(hasher, new.clone()),
            self.feed.file.write_at(written, new.clone()),
        );
        let hasher = hasher?;
        if let Err(error) = appended {
            return Ok((hasher, Err(error.into())));
        }
        *head = hasher.clone();
        let end = written + new.len() as u64;
        self.feed.mark.send_modify(|mark| mark.written = end);
        Ok((hasher, Ok(())))
    }

    /// The writer has brought the whole, whose hash is `digest`. An error if the file holds
    /// something else.
    pub async fn verified(self, digest: Digest) -> Result<(), TailError> {
        let head = self.feed.head.lock().await;
        if head.clone().finish() != digest {
            return Err(TailError::Diverged);
        }
        self.feed.verified.store(true, Ordering::Release);
        self.feed.mark.send_modify(|mark| mark.verified = true);
        Ok(())
    }
}

impl TailReader {
    /// The size of the whole, once it is verified.
    pub async fn size(&self) -> io::Result<u64> {
        self.wait_for(|mark| mark.verified).await
    }

    /// All bytes are to be read again. False if some of them are gone.
    pub fn start_over(&self) -> bool {
        self.file.start_over()
    }

    async fn wait_for(&self, mut enough: impl FnMut(&Mark) -> bool) -> io::Result<u64> {
        // A clone, since waiting takes `&mut`; many parts are waited for at once.
        let mut mark = self.mark.clone();
        let mark = mark.wait_for(|mark| enough(mark)).await.map_err(|_| {
            io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the writer left before the end",
            )
        })?;
        Ok(mark.written)
    }
}

#[async_trait]
impl Source for TailReader {
    fn confirmed(&self, range: Range<u64>) {
        self.file.confirmed(range);
    }

    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.available(range.end).await?;
        self.file.read_at(range).await
    }

    async fn available(&self, end: u64) -> io::Result<()> {
        // A byte beyond `end` tells that the last byte is not before it.
        self.wait_for(|mark| mark.verified || mark.written > end)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
