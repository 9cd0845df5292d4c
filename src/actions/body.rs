//! A request's body that tells how far it got, so that a stalled upload is seen.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::deadline::LastActivity;

/// Bytes handed to the connection at a time: progress is seen in these steps, which pass in
/// seconds on the slowest link worth having.
const SLICE: usize = 64 << 10;

/// How often a body is looked at in the time for which it may stand still: a stall is seen at
/// most an eighth of that too late.
const LOOKS: u32 = 8;

/// How many bytes the connection has taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent(Arc<AtomicU64>);

impl Sent {
    /// Returns once nothing has moved for `time`, and at most one look later.
    pub async fn stalled(&self, time: Duration) {
        let mut before = self.0.load(Ordering::Relaxed);
        let mut still = 0;
        while still < LOOKS {
            tokio::time::sleep(time / LOOKS).await;
            let now = self.0.load(Ordering::Relaxed);
            still = if now == before { still + 1 } else { 0 };
            before = now;
        }
    }
}

/// Bytes in slices. Its length is known, so it goes out with a `Content-Length`, which Azure asks
/// for.
pub(crate) struct SlicedBody {
    rest: Bytes,
    sent: Sent,
    last_activity: Option<Arc<LastActivity>>,
}

impl SlicedBody {
    pub fn new(bytes: Bytes, sent: Sent, last_activity: Option<Arc<LastActivity>>) -> Self {
        Self {
            rest: bytes,
            sent,
            last_activity,
        }
    }
}

impl Body for SlicedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(SLICE);
        let slice = self.rest.split_to(length);
        self.sent.0.fetch_add(length as u64, Ordering::Relaxed);
        if let Some(last_activity) = &self.last_activity {
            last_activity.touch();
        }
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_moving_body_is_not_stalled() {
        let sent = Sent::default();
        let start = Instant::now();
        let moving = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(20)).await;
                sent.0.fetch_add(1, Ordering::Relaxed);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = moving => unreachable!("it never ends"),
            () = sent.stalled(Duration::from_secs(30)) => {}
        }
        let elapsed = start.elapsed();
        assert!((230..=235).contains(&elapsed.as_secs()), "{elapsed:?}");
    }
}
