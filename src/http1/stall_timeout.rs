//! A request's body that must keep moving, and that is read to its end even if nobody wants it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep, timeout};

use crate::lifecycle::Tasks;

/// How long a client may send nothing in the middle of a body. Whatever reads the body holds a
/// connection meanwhile, of which there are not many.
const STALL: Duration = Duration::from_mins(1);

/// Bytes for which a client may wait another second. A body that brings less over a minute is cut off like one that
/// stands still; even a share of a slow uplink brings more.
const LEAST_PER_SECOND: u64 = 1 << 10;

/// How long the rest of a body is read that was refused. To hang up on a client that is still sending
/// resets the connection, and with it goes the answer that says why; then the client tries again.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// A body that fails once it has stalled, and whose rest is thrown away when it is dropped.
///
/// It begins with a budget of [`STALL`] to wait, which waiting uses up and bytes bring back. Only waiting
/// for the client counts: a disk of ours that is slow is not its fault.
pub(crate) struct StallTimeoutBody<B: DrainBody> {
    body: Option<B>,
    /// Passes when the budget is used up; `waiting` tells since when it runs.
    deadline: Pin<Box<Sleep>>,
    waiting: Option<Instant>,
    wait_budget: Duration,
    tasks: Tasks,
}

impl<B: DrainBody> StallTimeoutBody<B> {
    /// Watches over `body`.
    pub(crate) fn new(body: B, tasks: &Tasks) -> Self {
        Self {
            body: Some(body),
            deadline: Box::pin(tokio::time::sleep(STALL)),
            waiting: None,
            wait_budget: STALL,
            tasks: tasks.clone(),
        }
    }
}

/// What a body must be so that its rest can be left to a task.
pub(crate) trait DrainBody:
    Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static
{
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static> DrainBody for B {}

impl<B: DrainBody> Drop for StallTimeoutBody<B> {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let shutdown = self.tasks.shutdown().clone();
        self.tasks.spawn("unwanted body", async move {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            tokio::select! {
                _ = timeout(DRAIN_TIME, rest) => {}
                () = shutdown.cancelled() => {}
            }
        });
    }
}

impl<B: DrainBody> Body for StallTimeoutBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else {
            if self.waiting.is_none() {
                let now = Instant::now();
                let wait_budget = self.wait_budget;
                self.deadline.as_mut().reset(now + wait_budget);
                self.waiting = Some(now);
            }
            ready!(self.deadline.as_mut().poll(context));
            let stalled = format!(
                "it came with less than {LEAST_PER_SECOND} bytes a second for {} seconds",
                STALL.as_secs()
            );
            return Poll::Ready(Some(Err(stalled.into())));
        };
        let waited = self.waiting.take().map(|since| since.elapsed());
        self.wait_budget = self.wait_budget.saturating_sub(waited.unwrap_or_default());
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                let earned = Duration::from_millis(bytes * 1_000 / LEAST_PER_SECOND);
                self.wait_budget = (self.wait_budget + earned).min(STALL);
            }
            _ => self.body = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let empty = SizeHint::with_exact(0);
        self.body.as_ref().map_or(empty, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use futures_util::{StreamExt as _, stream};
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_but_not_stand_still() {
        const LEN: usize = 60 << 10;
        let frames = stream::iter(0_u8..3).then(|n| async move {
            tokio::time::sleep(STALL.mul_f32(0.9)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![n; LEN])))
        });
        let never = stream::once(std::future::pending());
        let body = StreamBody::new(Box::pin(frames.chain(never)));
        let mut body = StallTimeoutBody::new(body, &Tasks::default());
        for n in 0..3 {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), vec![n; LEN]);
        }
        let begun = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err().to_string();
        assert!(error.contains("less than 1024 bytes a second"), "{error}");
        assert!(begun.elapsed() < STALL + Duration::from_secs(1));
    }

    /// One byte now and then is no way to keep a connection.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_cut_off_as_if_it_stood_still() {
        let drops = stream::repeat(()).then(|()| async {
            tokio::time::sleep(STALL / 10).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))
        });
        let body = StreamBody::new(Box::pin(drops));
        let mut body = StallTimeoutBody::new(body, &Tasks::default());
        let begun = Instant::now();
        let mut came = 0;
        while let Some(Ok(_)) = body.frame().await {
            came += 1;
            assert!(came < 1_000, "it goes on for ever");
        }
        assert!(begun.elapsed() < STALL + Duration::from_secs(1));
    }

    /// A reader that does something else meanwhile is not the client's fault.
    #[tokio::test(start_paused = true)]
    async fn only_waiting_for_the_client_counts() {
        let frames = stream::iter(0..3).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from("x"))));
        let mut body = StallTimeoutBody::new(StreamBody::new(frames), &Tasks::default());
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            tokio::time::sleep(2 * STALL).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unwanted_body_is_drained_for_a_while() {
        let (read, mut reads) = tokio::sync::mpsc::channel(1);
        let frames = stream::repeat(()).then(move |()| {
            let read = read.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                read.send(()).await.unwrap();
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))
            }
        });
        let tasks = Tasks::default();
        drop(StallTimeoutBody::new(
            StreamBody::new(Box::pin(frames)),
            &tasks,
        ));
        let mut read = 0;
        while reads.recv().await.is_some() {
            read += 1;
        }
        assert_eq!(Duration::from_secs(read), DRAIN_TIME);
    }
}
