//! Flow control of a client's connection: it is read no faster than its calls are accepted.
//!
//! h2 reads as long as there is something to read, and only then says what calls have come. A client that
//! opens calls and resets them at once would fill its queue with them in one go. So a budget of bytes may be
//! read, and the next one when all calls of the last have been accepted; those that are reset meanwhile are
//! rate limited (see [`ResetLimiter`]).

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

use super::{io::BoxedIo, reset_limiter::ResetLimiter};
use crate::http1::ConnectionPermit;

/// What is read of a connection between two looks at its calls: enough that a large context loses nothing
/// to the looks, and fewer of the shortest calls than h2 lets wait that have been reset.
const READ_BUDGET: usize = 64 << 10;

/// Says when more of a connection may be read.
pub(crate) struct ReadPacer<'a> {
    permit: &'a ConnectionPermit,
    budget: Arc<AtomicUsize>,
    resets: Arc<ResetLimiter>,
}

/// A connection of which no more is read than the pacer allows.
pub(crate) struct PacedIo {
    io: BoxedIo,
    budget: Arc<AtomicUsize>,
}

impl<'a> ReadPacer<'a> {
    pub fn new(
        io: BoxedIo,
        permit: &'a ConnectionPermit,
        resets: Arc<ResetLimiter>,
    ) -> (PacedIo, Self) {
        let budget = Arc::new(AtomicUsize::new(READ_BUDGET));
        let paced = PacedIo {
            io,
            budget: Arc::clone(&budget),
        };
        (
            paced,
            Self {
                permit,
                budget,
                resets,
            },
        )
    }

    /// All calls so far have been accepted: the next budget may be read. The task that reads is woken if it
    /// could go no further.
    pub fn replenish(&self, cx: &Context<'_>) {
        if self.budget.swap(READ_BUDGET, Ordering::Relaxed) == 0 {
            cx.waker().wake_by_ref();
        }
    }

    /// Whether calls are under way: a connection without any gives its place to another when there is no other.
    pub fn set_in_use(&self, in_use: bool) {
        if in_use {
            self.permit.in_use();
        } else {
            self.permit.idle();
        }
    }

    /// Waits as long as a call costs that was reset.
    pub async fn wait_after_reset(&self) {
        self.resets.acquire().await;
    }
}

impl AsyncRead for PacedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let budget = self.budget.load(Ordering::Relaxed);
        if budget == 0 {
            // Whoever reads is the task that calls `replenish`.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let length = buf.filled().len() - before;
        self.budget
            .store(budget.saturating_sub(length), Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for PacedIo {
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
