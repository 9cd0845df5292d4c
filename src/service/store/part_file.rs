//! A file that takes the parts of an upload.
//!
//! Every part gets an extent of its own at the end of the file, whatever its order: parts may come in
//! parallel, out of order and twice, and none ever overwrites another.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use bytes::BytesMut;
use futures_util::StreamExt as _;
use parking_lot::{Mutex, RwLock};
use rustix::fs::{FallocateFlags, fallocate};

use super::{
    blob_store::{PartStream, PutError},
    error::{StoreError, StoreErrorKind, StoreKind},
    extent::{Extent, ObjectId},
};
use crate::service::blocking::run_blocking;

/// How much of a body is held in memory on its way to or from the disk: large enough that the switch
/// to a blocking thread does not count, small enough for a thousand transfers at once.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// What parts are written to.
pub(super) trait PartSink: Send + Sync + 'static {
    /// A place of `len` bytes that nobody else has had.
    fn allocate(&self, len: u64) -> Result<Extent, StoreError>;

    /// Writes all of `data`. Blocks.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), StoreError>;

    /// Says that a part has come whole.
    fn finish(&self, _extent: Extent) {}

    /// Says that a part does not come.
    fn abandon(&self, extent: Extent);
}

/// Writes a part of `len` bytes, which `body` has exactly or else fails.
pub(super) async fn receive(
    sink: &Arc<impl PartSink>,
    len: u64,
    body: &mut PartStream<'_>,
) -> Result<Extent, PutError> {
    let part = UnfinishedPart::begin(&**sink, len)?;
    // It grows with what comes: who sends little holds little.
    let mut buffer = BytesMut::new();
    let mut offset = part.extent.offset;
    while let Some(piece) = body.next().await {
        buffer.extend_from_slice(&piece.map_err(PutError::Body)?);
        if buffer.len() >= BUFFER_BYTES {
            let len = buffer.len() as u64;
            buffer = write(sink, offset, buffer).await?;
            offset += len;
        }
    }
    write(sink, offset, buffer).await?;
    Ok(part.finish())
}

/// Writes the buffer and gives it back empty.
async fn write(
    sink: &Arc<impl PartSink>,
    offset: u64,
    mut buffer: BytesMut,
) -> Result<BytesMut, StoreError> {
    let sink = Arc::clone(sink);
    run_blocking(move || {
        sink.write_at(&buffer, offset)?;
        buffer.clear();
        Ok(buffer)
    })
    .await
}

/// The place of a part whose bytes are on their way; given back unless they have all come.
struct UnfinishedPart<'a, S: PartSink> {
    sink: &'a S,
    extent: Extent,
    finished: bool,
}

impl<'a, S: PartSink> UnfinishedPart<'a, S> {
    fn begin(sink: &'a S, len: u64) -> Result<Self, StoreError> {
        Ok(Self {
            extent: sink.allocate(len)?,
            sink,
            finished: false,
        })
    }

    fn finish(mut self) -> Extent {
        self.finished = true;
        self.sink.finish(self.extent);
        self.extent
    }
}

impl<S: PartSink> Drop for UnfinishedPart<'_, S> {
    fn drop(&mut self) {
        if !self.finished {
            self.sink.abandon(self.extent);
        }
    }
}

/// The file itself: bytes at any place, from several threads.
#[derive(Debug)]
pub(super) struct PartFile {
    file: File,
    object: ObjectId,
    /// Where the next extent begins.
    tail: Mutex<u64>,
    /// Whether it takes no more. Read while bytes are written.
    closed: RwLock<bool>,
}

impl PartFile {
    /// A file that is empty, and whose extents are of the object `id`.
    pub(super) fn new(file: File, id: i64) -> Self {
        Self {
            file,
            object: ObjectId(id),
            tail: Mutex::new(0),
            closed: RwLock::default(),
        }
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Where the last extent ends.
    pub(super) fn end(&self) -> u64 {
        *self.tail.lock()
    }

    /// A place of `len` bytes that nobody else has had.
    pub(super) fn allocate(&self, len: u64) -> Result<Extent, StoreError> {
        let mut tail = self.tail.lock();
        let offset = *tail;
        *tail = offset
            .checked_add(len)
            .ok_or_else(|| StoreError::new(StoreKind::Storage, StoreErrorKind::TooLarge))?;
        Ok(Extent {
            object: self.object,
            offset,
            len,
        })
    }

    /// Writes all of `data`, unless it is closed.
    pub(super) fn write_at(&self, data: &[u8], offset: u64) -> Result<(), StoreError> {
        let closed = self.closed.read();
        if *closed {
            return Err(StoreError::new(StoreKind::Storage, StoreErrorKind::Closed));
        }
        Ok(self.file.write_all_at(data, offset)?)
    }

    /// The bytes of some extents, one after the other.
    pub(super) fn read(&self, extents: &[Extent]) -> io::Result<Vec<u8>> {
        let mut piece = Vec::new();
        for extent in extents {
            let start = piece.len();
            let len = usize::try_from(extent.len).map_err(io::Error::other)?;
            piece.resize(start + len, 0);
            self.file
                .read_exact_at(&mut piece[start..], extent.offset)?;
        }
        Ok(piece)
    }

    /// Takes nothing more; waits for what is being written.
    pub(super) fn close(&self) {
        *self.closed.write() = true;
    }

    /// Whether it takes nothing more.
    pub(super) fn is_closed(&self) -> bool {
        *self.closed.read()
    }

    /// Takes bytes again.
    pub(super) fn reopen(&self) {
        *self.closed.write() = false;
    }

    /// Gives the room of an extent back to the disk. One that is closed gives nothing back: what it holds by
    /// then may be an entry's.
    pub(super) fn release(&self, extent: Extent) {
        // Whoever has the lock is about to close it.
        if let Some(closed) = self.closed.try_read()
            && !*closed
        {
            self.punch(extent.offset, extent.len);
        }
    }

    /// Gives the room of some bytes back to the disk, where its file system can do that.
    pub(super) fn punch(&self, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = fallocate(&self.file, flags, offset, len) {
            tracing::debug!(%error, "bytes that nobody needs stay on the disk");
        }
    }
}
