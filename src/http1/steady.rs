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

/// How long the rest of a body is read that was refused. To hang up on a client that is still sending
/// resets the connection, and with it goes the answer that says why; then the client tries again.
const LINGER: Duration = Duration::from_secs(10);

/// A body that fails once it has stalled, and whose rest is thrown away when it is dropped.
pub struct Steady<B: Discard> {
    body: Option<B>,
    stalls: Pin<Box<Sleep>>,
    tasks: Tasks,
}

impl<B: Discard> Steady<B> {
    /// Watches over `body`.
    pub fn new(body: B, tasks: &Tasks) -> Self {
        Self {
            body: Some(body),
            stalls: Box::pin(tokio::time::sleep(STALL)),
            tasks: tasks.clone(),
        }
    }
}

/// What a body must be so that its rest can be left to a task.
pub trait Discard: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static {}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static> Discard for B {}

impl<B: Discard> Drop for Steady<B> {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let shutdown = self.tasks.shutdown().clone();
        self.tasks.spawn("unwanted body", async move {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            tokio::select! {
                _ = timeout(LINGER, rest) => {}
                () = shutdown.cancelled() => {}
            }
        });
    }
}

impl<B: Discard> Body for Steady<B> {
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
            ready!(self.stalls.as_mut().poll(context));
            let stalled = format!("nothing was sent for {} seconds", STALL.as_secs());
            return Poll::Ready(Some(Err(stalled.into())));
        };
        self.stalls.as_mut().reset(Instant::now() + STALL);
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
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
        let frames = stream::iter(0_u8..3).then(|n| async move {
            tokio::time::sleep(STALL.mul_f32(0.9)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![n])))
        });
        let never = stream::once(std::future::pending());
        let body = StreamBody::new(Box::pin(frames.chain(never)));
        let mut body = Steady::new(body, &Tasks::default());
        for n in 0..3 {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), vec![n]);
        }
        let begun = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "nothing was sent for 60 seconds");
        assert!(begun.elapsed() < STALL + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_wants_is_read_for_a_while() {
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
        drop(Steady::new(StreamBody::new(Box::pin(frames)), &tasks));
        let mut read = 0;
        while reads.recv().await.is_some() {
            read += 1;
        }
        assert_eq!(Duration::from_secs(read), LINGER);
    }
}
