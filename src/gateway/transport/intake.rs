//! How fast a client's connection is read: not faster than its calls are taken up.
//!
//! h2 reads as long as there is something to read, and only then says what calls have come. A client that
//! opens calls and takes them back at once would fill its queue with them in one go. So the connection gets
//! bytes in portions, and the next one when all calls of the last have been taken up; those that are taken
//! back meanwhile have their turns (see [`Resets`]).

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{io::BoxedIo, resets::Resets};
use crate::http1::ConnectionPermit;

/// What is read of a connection between two looks at its calls: enough that a large context loses nothing
/// to the looks, and fewer of the shortest calls than h2 lets wait that have been reset.
const PORTION: usize = 64 << 10;

/// The intake of one connection.
pub(crate) struct Intake<'a> {
    seat: &'a ConnectionPermit,
    left: Arc<AtomicUsize>,
    resets: Arc<Resets>,
}

/// A connection that is read in portions.
pub(crate) struct Portioned {
    io: BoxedIo,
    left: Arc<AtomicUsize>,
}

impl<'a> Intake<'a> {
    /// Reads `io` in portions.
    pub fn of(io: BoxedIo, seat: &'a ConnectionPermit, resets: Arc<Resets>) -> (Portioned, Self) {
        let left = Arc::new(AtomicUsize::new(PORTION));
        let portioned = Portioned {
            io,
            left: Arc::clone(&left),
        };
        (portioned, Self { seat, left, resets })
    }

    /// All calls so far have been taken up: the next portion may be read. The task that reads is woken if it
    /// could go no further.
    pub fn more(&self, cx: &Context<'_>) {
        if self.left.swap(PORTION, Ordering::Relaxed) == 0 {
            cx.waker().wake_by_ref();
        }
    }

    /// Whether calls are under way: a connection without any gives its place to another when there is no other.
    pub fn in_use(&self, in_use: bool) {
        if in_use {
            self.seat.in_use();
        } else {
            self.seat.idle();
        }
    }

    /// Waits for the turn of a call that was taken back.
    pub async fn turn(&self) {
        self.resets.turn().await;
    }
}

impl AsyncRead for Portioned {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            // Whoever reads is the task that calls `more`.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let length = buf.filled().len() - before;
        self.left
            .store(left.saturating_sub(length), Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Portioned {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
