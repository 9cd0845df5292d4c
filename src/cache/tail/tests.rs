//! One file, several writers: they come and go, and one of them may be wrong.

use futures_util::FutureExt as _;

use super::*;
use crate::cache::spool::Spool;

/// A writer as an export has it: with the hash of what it has brought.
struct Bringer(TailWriter, Hasher);

impl Bringer {
    fn new(writer: TailWriter) -> Self {
        Self(writer, Hasher::default())
    }

    async fn bring(&mut self, data: &'static str) -> Result<(), TailError> {
        let hasher = std::mem::take(&mut self.1);
        let data = Bytes::from_static(data.as_bytes());
        let (hasher, fed) = self.0.write(hasher, data).await.unwrap();
        self.1 = hasher;
        fed
    }

    async fn finish(self) -> Result<(), TailError> {
        self.0.verified(self.1.finish()).await
    }
}

async fn parts() -> (Spool, Bringer, JoinHandle, TailReader) {
    let spool = Spool::new(std::env::temp_dir(), 1 << 20);
    let (writer, gate, reader) = tail(spool.create(4).await.unwrap());
    (spool, Bringer::new(writer), gate, reader)
}

#[tokio::test]
async fn the_last_byte_waits_for_the_verdict() {
    let (spool, mut writer, gate, reader) = parts().await;
    writer.bring("abcd").await.unwrap();
    assert_eq!(&reader.read(0..2).await.unwrap()[..], b"ab");
    let mut last = Box::pin(reader.read(2..4));
    assert!(last.as_mut().now_or_never().is_none());
    writer.finish().await.unwrap();
    assert_eq!(&last.await.unwrap()[..], b"cd");
    assert_eq!(reader.size().await.unwrap(), 4);
    assert!(gate.is_verified() && gate.join().is_none());
    drop(reader);
    assert_eq!(spool.used(), 0);
}

#[tokio::test]
async fn a_writer_that_leaves_is_an_error() {
    let (_spool, mut writer, gate, reader) = parts().await;
    writer.bring("abcd").await.unwrap();
    drop(writer);
    assert!(reader.read(0..4).await.is_err());
    assert!(reader.size().await.is_err());
    assert!(gate.join().is_none() && !gate.is_verified());
}

#[tokio::test]
async fn a_reader_that_leaves_is_seen() {
    let (spool, writer, _gate, reader) = parts().await;
    assert!(!writer.0.is_abandoned());
    drop(reader);
    assert!(writer.0.is_abandoned());
    drop(writer);
    assert_eq!(spool.used(), 0);
}

#[tokio::test]
async fn another_writer_goes_on_where_the_first_has_left() {
    let (_spool, mut first, gate, reader) = parts().await;
    first.bring("abcde").await.unwrap();
    let mut second = Bringer::new(gate.join().unwrap());
    second.bring("abc").await.unwrap();
    drop(first);
    second.bring("defgh").await.unwrap();
    // One more, which is there before it has brought anything that is new.
    let mut third = Bringer::new(gate.join().unwrap());
    third.bring("abcdefgh").await.unwrap();
    drop(second);
    third.finish().await.unwrap();
    assert_eq!(&reader.read(0..8).await.unwrap()[..], b"abcdefgh");
}

#[tokio::test]
async fn a_writer_with_other_bytes_changes_nothing() {
    let (_spool, mut first, gate, reader) = parts().await;
    first.bring("abcd").await.unwrap();
    let mut wrong = Bringer::new(gate.join().unwrap());
    wrong.bring("abXd").await.unwrap();
    assert!(matches!(wrong.bring("e").await, Err(TailError::Diverged)));
    let mut short = Bringer::new(gate.join().unwrap());
    short.bring("abc").await.unwrap();
    assert!(matches!(short.finish().await, Err(TailError::Diverged)));
    first.bring("e").await.unwrap();
    first.finish().await.unwrap();
    assert_eq!(&reader.read(0..5).await.unwrap()[..], b"abcde");
}

#[tokio::test]
async fn what_a_wrong_writer_has_begun_is_never_verified() {
    let (_spool, mut wrong, gate, reader) = parts().await;
    wrong.bring("aX").await.unwrap();
    let mut right = Bringer::new(gate.join().unwrap());
    assert!(matches!(right.bring("abc").await, Err(TailError::Diverged)));
    drop((wrong, right));
    assert!(reader.size().await.is_err());
}
