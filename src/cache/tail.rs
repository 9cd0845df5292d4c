//! A spool file that writers append to while a reader reads what is there already.
//!
//! The reader never gets the last byte before a writer has said that the whole is right. So an
//! upload runs beside the bytes that arrive, and yet cannot finish with wrong ones.
//!
//! All builds that write the same layer at the same time write to one file: each appends only what
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
struct Progress {
    written: u64,
    verified: bool,
}

/// The file as its writers share it.
struct TailFile {
    file: Arc<SpoolFile>,
    progress: watch::Sender<Progress>,
    /// The hash of all bytes in the file. Locked while a writer appends.
    hasher: Mutex<Hasher>,
    verified: Arc<AtomicBool>,
}

/// One who writes. When the last one is dropped before [`TailWriter::finish`], the reader gets an
/// error.
pub(super) struct TailWriter {
    tail: Arc<TailFile>,
    /// How many bytes this one has brought.
    offset: u64,
}

/// Lets more writers join.
#[derive(Clone)]
pub(super) struct JoinHandle {
    tail: Weak<TailFile>,
    verified: Arc<AtomicBool>,
}

/// The side that reads.
pub(super) struct TailReader {
    file: Arc<SpoolFile>,
    progress: watch::Receiver<Progress>,
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
    let (progress, receiver) = watch::channel(Progress::default());
    let verified = Arc::<AtomicBool>::default();
    let tail = Arc::new(TailFile {
        file: Arc::clone(&file),
        progress,
        hasher: Mutex::default(),
        verified: Arc::clone(&verified),
    });
    let join_handle = JoinHandle {
        tail: Arc::downgrade(&tail),
        verified,
    };
    let reader = TailReader {
        file,
        progress: receiver,
    };
    (TailWriter { tail, offset: 0 }, join_handle, reader)
}

/// The reading side of a file that has all its `size` bytes, and a way in that is closed.
pub(super) fn tail_of_whole(file: Arc<SpoolFile>, size: u64) -> (JoinHandle, TailReader) {
    let join_handle = JoinHandle {
        tail: Weak::new(),
        verified: Arc::new(AtomicBool::new(true)),
    };
    let (_, progress) = watch::channel(Progress {
        written: size,
        verified: true,
    });
    (join_handle, TailReader { file, progress })
}

impl JoinHandle {
    /// One more writer, who begins at the first byte; `None` if nobody writes any more.
    pub fn join(&self) -> Option<TailWriter> {
        let tail = self.tail.upgrade()?;
        Some(TailWriter { tail, offset: 0 })
    }

    /// True if the whole is there and right.
    pub fn is_verified(&self) -> bool {
        self.verified.load(Ordering::Acquire)
    }
}

impl TailWriter {
    /// True if nobody will read any more.
    pub fn is_unread(&self) -> bool {
        self.tail.progress.is_closed()
    }

    /// Takes the writer's next bytes. `before` has hashed all that it has brought so far; the
    /// answer has hashed these too, whatever becomes of them.
    pub async fn write(
        &mut self,
        before: Hasher,
        data: Bytes,
    ) -> io::Result<(Hasher, Result<(), TailError>)> {
        let mut hashed = self.tail.hasher.lock().await;
        let written = self.tail.progress.borrow().written;
        let ahead = usize::try_from(written - self.offset).unwrap_or(usize::MAX);
        self.offset += data.len() as u64;
        let repeated = data.slice(..ahead.min(data.len()));
        let new = data.slice(repeated.len()..);
        let hasher = hash(before, repeated).await?;
        if new.is_empty() {
            return Ok((hasher, Ok(())));
        }
        if hasher.clone().finish() != hashed.clone().finish() {
            return Ok((hash(hasher, new).await?, Err(TailError::Diverged)));
        }
        // The writer waits for the answer before it sends more, so both run at once.
        let (hasher, appended) = tokio::join!(
            hash(hasher, new.clone()),
            self.tail.file.write_at(written, new.clone()),
        );
        let hasher = hasher?;
        if let Err(error) = appended {
            return Ok((hasher, Err(error.into())));
        }
        *hashed = hasher.clone();
        let end = written + new.len() as u64;
        (self.tail.progress).send_modify(|progress| progress.written = end);
        Ok((hasher, Ok(())))
    }

    /// The writer has brought the whole, whose hash is `digest`. An error if the file holds
    /// something else.
    pub async fn finish(self, digest: Digest) -> Result<(), TailError> {
        let hashed = self.tail.hasher.lock().await;
        if hashed.clone().finish() != digest {
            return Err(TailError::Diverged);
        }
        self.tail.verified.store(true, Ordering::Release);
        (self.tail.progress).send_modify(|progress| progress.verified = true);
        Ok(())
    }
}

impl TailReader {
    /// The size of the whole, once it is verified.
    pub async fn size(&self) -> io::Result<u64> {
        self.wait_for(|progress| progress.verified).await
    }

    /// All bytes are to be read again. False if some of them are gone.
    pub fn start_over(&self) -> bool {
        self.file.start_over()
    }

    async fn wait_for(&self, mut enough: impl FnMut(&Progress) -> bool) -> io::Result<u64> {
        // A clone, since waiting takes `&mut`; many parts are waited for at once.
        let mut progress = self.progress.clone();
        let progress = progress.wait_for(|progress| enough(progress)).await;
        let progress = progress.map_err(|_| {
            io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the writer left before the end",
            )
        })?;
        Ok(progress.written)
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
        self.wait_for(|progress| progress.verified || progress.written > end)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
