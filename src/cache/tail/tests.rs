//! One file, several writers: they come and go, and one of them may be wrong.

use futures_util::FutureExt as _;

use super::*;
use crate::cache::spool::Spool;

/// A writer as an export has it: with the hash of what it has brought.
struct HashingWriter(TailWriter, Hasher);

impl HashingWriter {
    fn new(writer: TailWriter) -> Self {
        Self(writer, Hasher::default())
    }

    async fn write(&mut self, data: &'static str) -> Result<(), TailError> {
        let hasher = std::mem::take(&mut self.1);
        let data = Bytes::from_static(data.as_bytes());
        let (hasher, written) = self.0.write(hasher, data).await.unwrap();
        self.1 = hasher;
        written
    }

    async fn finish(self) -> Result<(), TailError> {
        self.0.finish(self.1.finish()).await
    }
}

async fn parts() -> (Spool, HashingWriter, JoinHandle, TailReader) {
    let spool = Spool::new(std::env::temp_dir(), 1 << 20);
    let (writer, join_handle, reader) = tail(spool.create(4).await.unwrap());
    (spool, HashingWriter::new(writer), join_handle, reader)
}

#[tokio::test]
async fn the_last_byte_waits_for_the_verdict() {
    let (spool, mut writer, join_handle, reader) = parts().await;
    writer.write("abcd").await.unwrap();
    assert_eq!(&reader.read(0..2).await.unwrap()[..], b"ab");
    let mut last = Box::pin(reader.read(2..4));
    assert!(last.as_mut().now_or_never().is_none());
    writer.finish().await.unwrap();
    assert_eq!(&last.await.unwrap()[..], b"cd");
    assert_eq!(reader.size().await.unwrap(), 4);
    assert!(join_handle.is_verified() && join_handle.join().is_none());
    drop(reader);
    assert_eq!(spool.used(), 0);
}

#[tokio::test]
async fn a_writer_that_leaves_is_an_error() {
    let (_spool, mut writer, join_handle, reader) = parts().await;
    writer.write("abcd").await.unwrap();
    drop(writer);
    assert!(reader.read(0..4).await.is_err());
    assert!(reader.size().await.is_err());
    assert!(join_handle.join().is_none() && !join_handle.is_verified());
}

#[tokio::test]
async fn a_reader_that_leaves_is_seen() {
    let (spool, writer, _join_handle, reader) = parts().await;
    assert!(!writer.0.is_unread());
    drop(reader);
    assert!(writer.0.is_unread());
    drop(writer);
    assert_eq!(spool.used(), 0);
}

#[tokio::test]
async fn another_writer_goes_on_where_the_first_has_left() {
    let (_spool, mut first, join_handle, reader) = parts().await;
    first.write("abcde").await.unwrap();
    let mut second = HashingWriter::new(join_handle.join().unwrap());
    second.write("abc").await.unwrap();
    drop(first);
    second.write("defgh").await.unwrap();
    // One more, which is there before it has brought anything that is new.
    let mut third = HashingWriter::new(join_handle.join().unwrap());
    third.write("abcdefgh").await.unwrap();
    drop(second);
    third.finish().await.unwrap();
    assert_eq!(&reader.read(0..8).await.unwrap()[..], b"abcdefgh");
}

#[tokio::test]
async fn a_writer_with_other_bytes_changes_nothing() {
    let (_spool, mut first, join_handle, reader) = parts().await;
    first.write("abcd").await.unwrap();
    let mut wrong = HashingWriter::new(join_handle.join().unwrap());
    wrong.write("abXd").await.unwrap();
    assert!(matches!(wrong.write("e").await, Err(TailError::Diverged)));
    let mut short = HashingWriter::new(join_handle.join().unwrap());
    short.write("abc").await.unwrap();
    assert!(matches!(short.finish().await, Err(TailError::Diverged)));
    first.write("e").await.unwrap();
    first.finish().await.unwrap();
    assert_eq!(&reader.read(0..5).await.unwrap()[..], b"abcde");
}

#[tokio::test]
async fn what_a_wrong_writer_has_begun_is_never_verified() {
    let (_spool, mut wrong, join_handle, reader) = parts().await;
    wrong.write("aX").await.unwrap();
    let mut right = HashingWriter::new(join_handle.join().unwrap());
    assert!(matches!(right.write("abc").await, Err(TailError::Diverged)));
    drop((wrong, right));
    assert!(reader.size().await.is_err());
}
