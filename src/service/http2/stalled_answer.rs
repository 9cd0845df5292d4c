//! An answer's body whose client must take something of it now and then.
//!
//! A connection of HTTP/2 moves on while one of its streams stands still, so a limit for writes on the socket does
//! not see it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

use crate::lifecycle::{TaskGuard, Tasks};

/// Longest piece that is handed over at once: hyper asks for one when the client's window is open and takes it whole,
/// so what is beyond the window waits in memory where nobody watches it.
const PIECE: usize = 64 << 10;

/// A body; where it is not read any further for too long, its connection is told.
pub(super) struct StalledAnswer {
    body: Body,
    /// What is left of the frame that was read last.
    rest: Bytes,
    /// How often it was read.
    reads: Arc<AtomicU64>,
    /// None for a body that is known to be empty.
    _watch: Option<TaskGuard>,
}

impl StalledAnswer {
    /// Cancels `stalled` when nothing of `body` is read for so long, until it is dropped.
    pub(super) fn new(
        body: Body,
        stall: Duration,
        stalled: CancellationToken,
        tasks: &Tasks,
    ) -> Self {
        let reads = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&reads);
        let watch = async move {
            let mut before = None;
            loop {
                let now = Some(seen.load(Ordering::Relaxed));
                if now == before {
                    stalled.cancel();
                    return;
                }
                before = now;
                tokio::time::sleep(stall).await;
            }
        };
        let waits = !body.is_end_stream();
        Self {
            body,
            rest: Bytes::new(),
            reads,
            _watch: waits.then(|| tasks.spawn_guarded("stalled answers", watch)),
        }
    }
}

impl http_body::Body for StalledAnswer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.reads.fetch_add(1, Ordering::Relaxed);
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut size = SizeHint::new();
        size.set_lower(rest + body.lower());
        if let Some(upper) = body.upper() {
            size.set_upper(rest + upper);
        }
        size
    }
}
