//! A spool file that one side appends to while the other reads what is there already.
//!
//! The reader never gets the last byte before the writer has said that the whole is right. So an
//! upload runs beside the bytes that arrive, and yet cannot finish with wrong ones.

use std::{io, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::spool::{SpoolError, SpoolFile};
use crate::actions::Source;

/// How far the writer is.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    written: u64,
    verified: bool,
}

/// The side that appends. Dropped before [`Writer::verified`], it leaves readers with an error.
pub(super) struct Writer {
    file: Arc<SpoolFile>,
    mark: watch::Sender<Mark>,
}

/// The side that reads.
pub(super) struct Growing {
    file: Arc<SpoolFile>,
    mark: watch::Receiver<Mark>,
}

/// Both sides of `file`, which is empty.
pub(super) fn growing(file: SpoolFile) -> (Writer, Growing) {
    let file = Arc::new(file);
    let (sender, receiver) = watch::channel(Mark::default());
    let writer = Writer {
        file: Arc::clone(&file),
        mark: sender,
    };
    let reader = Growing {
        file,
        mark: receiver,
    };
    (writer, reader)
}

impl Writer {
    /// True if nobody will read any more.
    pub fn is_abandoned(&self) -> bool {
        self.mark.is_closed()
    }

    /// Appends `data`.
    pub async fn append(&self, data: Bytes) -> Result<(), SpoolError> {
        let written = self.mark.borrow().written;
        let end = written + data.len() as u64;
        self.file.write_at(written, data).await?;
        self.mark.send_modify(|mark| mark.written = end);
        Ok(())
    }

    /// The whole is there and is what it should be.
    pub fn verified(self) {
        self.mark.send_modify(|mark| mark.verified = true);
    }
}

impl Growing {
    /// The size of the whole, once it is verified.
    pub async fn size(&self) -> io::Result<u64> {
        self.wait_for(|mark| mark.verified).await
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
impl Source for Growing {
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
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::cache::spool::Spool;

    async fn pair() -> (Spool, Writer, Growing) {
        let spool = Spool::new(std::env::temp_dir(), 1 << 20);
        let (writer, reader) = growing(spool.create(4).await.unwrap());
        (spool, writer, reader)
    }

    #[tokio::test]
    async fn the_last_byte_waits_for_the_verdict() {
        let (spool, writer, reader) = pair().await;
        writer.append(Bytes::from_static(b"abcd")).await.unwrap();
        assert_eq!(&reader.read(0..2).await.unwrap()[..], b"ab");
        let mut last = Box::pin(reader.read(2..4));
        assert!(last.as_mut().now_or_never().is_none());
        writer.verified();
        assert_eq!(&last.await.unwrap()[..], b"cd");
        assert_eq!(reader.size().await.unwrap(), 4);
        drop(reader);
        assert_eq!(spool.used(), 0);
    }

    #[tokio::test]
    async fn a_writer_that_leaves_is_an_error() {
        let (_spool, writer, reader) = pair().await;
        writer.append(Bytes::from_static(b"abcd")).await.unwrap();
        drop(writer);
        assert!(reader.read(0..4).await.is_err());
        assert!(reader.size().await.is_err());
    }

    #[tokio::test]
    async fn a_reader_that_leaves_is_seen() {
        let (spool, writer, reader) = pair().await;
        assert!(!writer.is_abandoned());
        drop(reader);
        assert!(writer.is_abandoned());
        drop(writer);
        assert_eq!(spool.used(), 0);
    }
}
