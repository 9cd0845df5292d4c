//! Where the bytes of an upload come from.

use std::{io, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

/// Bytes that may still be arriving. An upload reads its parts from here, more than once if a
/// part must be sent again.
#[async_trait]
pub trait Source: Send + Sync {
    /// The bytes of `range`, waiting until all of them are there. An error means that they never
    /// will be.
    async fn read(&self, range: Range<u64>) -> io::Result<Bytes>;

    /// The service has these bytes: they are not read again.
    fn confirmed(&self, _range: Range<u64>) {}

    /// Waits until the bytes before `end` are there, and takes no memory for it. A part asks for
    /// memory after this, so that uploads whose bytes are late do not keep it from others.
    async fn available(&self, _end: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Told how many bytes of an upload have been confirmed so far, after each part.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// Bytes that are all there.
pub(super) struct InMemory(pub Bytes);

#[async_trait]
impl Source for InMemory {
    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let index = |at| usize::try_from(at).map_err(io::Error::other);
        Ok(self.0.slice(index(range.start)?..index(range.end)?))
    }
}
