//! A simulated link: a latency for each call and bytes per second, per connection and in all.
//!
//! Half of a call's latency passes before the service gets the request and half before the client
//! gets the answer, so calls on several connections wait side by side. Bytes are let through frame
//! by frame, as they are, in both directions: a frame that comes too early is held, and the sockets
//! before it fill up.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::{Operation, body::ProxyBody, lock};

/// How far behind its rate a direction may fall and still make up for it. Timers are late by a
/// millisecond or two, which would else be lost for each frame.
const CATCH_UP: Duration = Duration::from_millis(5);

/// What a link does to calls and bytes.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// What each API call takes at least.
    pub api: Duration,
    /// What each call that carries the bytes of an entry takes besides the time of its bytes.
    pub blob: Duration,
    /// Bytes per second of one connection in each direction.
    pub per_connection: Option<u32>,
    /// Bytes per second of all connections together in each direction.
    pub in_all: Option<u32>,
}

impl Link {
    /// No limit.
    pub const NONE: Self = Self {
        api: Duration::ZERO,
        blob: Duration::ZERO,
        per_connection: None,
        in_all: None,
    };

    /// Half of what a call takes.
    pub(super) async fn half_way(&self, operation: Operation) {
        let latency = if operation.carries_bytes() {
            self.blob
        } else {
            self.api
        };
        if !latency.is_zero() {
            sleep(latency / 2).await;
        }
    }
}

/// One direction of a link or of a connection.
pub(super) struct Bandwidth {
    rate: Option<u32>,
    /// When all bytes so far have been sent.
    free: Mutex<Instant>,
}

impl Bandwidth {
    pub fn new(rate: Option<u32>) -> Self {
        let free = Mutex::new(Instant::now());
        Self { rate, free }
    }

    /// When these bytes have been sent, behind those before them.
    fn book(&self, bytes: usize, now: Instant) -> Instant {
        let Some(rate) = self.rate else { return now };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a frame is far below 2^52 bytes"
        )]
        let takes = Duration::from_secs_f64(bytes as f64 / f64::from(rate));
        let mut free = lock(&self.free);
        *free = (*free).max(now - CATCH_UP) + takes;
        *free
    }
}

/// What one direction of all connections shares: the rate, and how much has gone through.
pub(super) struct Direction {
    bandwidth: Bandwidth,
    pub bytes: AtomicU64,
}

impl Direction {
    pub fn new(rate: Option<u32>) -> Arc<Self> {
        let (bandwidth, bytes) = (Bandwidth::new(rate), AtomicU64::new(0));
        Arc::new(Self { bandwidth, bytes })
    }
}

/// A body that goes no faster than its connection, and than all connections together.
struct ShapedBody {
    body: ProxyBody,
    own: Arc<Bandwidth>,
    all: Arc<Direction>,
    held: Option<Frame<Bytes>>,
    due: Pin<Box<Sleep>>,
}

/// The body at the speed of its connection and of all of them together.
pub(super) fn shaped(body: ProxyBody, own: &Arc<Bandwidth>, all: &Arc<Direction>) -> ProxyBody {
    let shaped = ShapedBody {
        body,
        own: Arc::clone(own),
        all: Arc::clone(all),
        held: None,
        due: Box::pin(sleep_until(Instant::now())),
    };
    shaped.boxed_unsync()
}

impl ShapedBody {
    /// When these bytes have been sent.
    fn book(&self, bytes: usize, now: Instant) -> Instant {
        self.all.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let own = self.own.book(bytes, now);
        own.max(self.all.bandwidth.book(bytes, now))
    }
}

impl Body for ShapedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.held.is_none() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                over => return Poll::Ready(over),
            };
            let now = Instant::now();
            let due = self.book(frame.data_ref().map_or(0, Bytes::len), now);
            if due <= now {
                return Poll::Ready(Some(Ok(frame)));
            }
            self.due.as_mut().reset(due);
            self.held = Some(frame);
        }
        ready!(self.due.as_mut().poll(context));
        Poll::Ready(self.held.take().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Only whether there is a length matters, and it is told before the first frame.
        self.body.size_hint()
    }
}
