//! A content on its way from one store to another: in parts, hashed and counted.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use crate::{
    digest::{Digest, Hasher},
    service::store::{BodyError, ContentStream},
};

/// A content, of which one part after another is read.
pub(super) struct Content<'a> {
    pieces: ContentStream,
    /// What has come of the next part already.
    rest: Bytes,
    /// How many bytes of the part are to come.
    left: u64,
    hasher: Hasher,
    on_bytes: &'a (dyn Fn(u64) + Send + Sync),
}

impl<'a> Content<'a> {
    pub(super) fn new(pieces: ContentStream, on_bytes: &'a (dyn Fn(u64) + Send + Sync)) -> Self {
        Self {
            pieces,
            rest: Bytes::new(),
            left: 0,
            hasher: Hasher::default(),
            on_bytes,
        }
    }

    /// Begins a part of `len` bytes; the one before it must have been read to its end.
    pub(super) fn begin_part(&mut self, len: u64) -> &mut Self {
        self.left = len;
        self
    }

    /// The digest of all that was read.
    pub(super) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl Stream for Content<'_> {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        while self.rest.is_empty() {
            self.rest = match ready!(self.pieces.poll_next_unpin(context)) {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError(error.message())))),
                None => return Poll::Ready(Some(Err(BodyError("it ends too early".to_owned())))),
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let len = self.rest.len().min(most);
        let piece = self.rest.split_to(len);
        self.left -= len as u64;
        self.hasher.update(&piece);
        (self.on_bytes)(len as u64);
        Poll::Ready(Some(Ok(piece)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{TryStreamExt as _, stream};

    use super::*;

    #[tokio::test]
    async fn pieces_become_parts() {
        let pieces = ["a", "bcd", "", "efghi"].map(|piece| Ok(Bytes::from(piece)));
        let counted = std::sync::atomic::AtomicU64::new(0);
        let count = |bytes| {
            counted.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        };
        let mut content = Content::new(stream::iter(pieces).boxed(), &count);
        let mut parts = Vec::new();
        for len in [2, 4, 3] {
            let part: Vec<Bytes> = content.begin_part(len).try_collect().await.unwrap();
            parts.push(String::from_utf8(part.concat()).unwrap());
        }
        assert_eq!(parts, ["ab", "cdef", "ghi"]);
        let early: Result<Vec<Bytes>, _> = content.begin_part(1).try_collect().await;
        assert!(early.unwrap_err().0.contains("too early"));
        assert_eq!(content.finish(), Digest::sha256("abcdefghi"));
        assert_eq!(counted.into_inner(), 9);
    }
}
