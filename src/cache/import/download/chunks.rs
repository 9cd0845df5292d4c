//! The chunks of a body, as they are written to the spool.

use bytes::{Bytes, BytesMut};

/// Smaller chunks of a body are put together: a write to the spool for each would cost more than
/// the copy, and so would a list of them.
const SMALL_CHUNK: usize = 16 << 10;

/// Chunks as they came, without a copy; small ones together, since each has a cost of its own.
#[derive(Default)]
pub(super) struct Chunks {
    whole: Vec<Bytes>,
    small: BytesMut,
}

impl Chunks {
    pub fn push(&mut self, chunk: Bytes) {
        if chunk.len() < SMALL_CHUNK {
            self.small.extend_from_slice(&chunk);
        } else {
            self.flush();
            self.whole.push(chunk);
        }
    }

    pub fn finish(mut self) -> Vec<Bytes> {
        self.flush();
        self.whole
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.whole.push(self.small.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_chunks_are_shared_and_small_ones_put_together() {
        let large = Bytes::from(vec![1; SMALL_CHUNK]);
        let small = Bytes::from_static(b"small");
        let mut chunks = Chunks::default();
        for chunk in [&small, &small, &large, &small] {
            chunks.push(chunk.clone());
        }
        let chunks = chunks.finish();
        assert_eq!(chunks, [&b"smallsmall"[..], &large, &small]);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
    }
}
