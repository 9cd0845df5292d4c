//! Bodies on their way through: as they are, or as a fault has them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{
    InFlight,
    connection::{ConnectionEnd, ConnectionHandle},
};

/// What goes through the proxy.
pub(super) type ProxyBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// A body in memory.
pub(super) fn full(bytes: Bytes) -> ProxyBody {
    Full::new(bytes)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// Reads and forgets a body, up to `limit` bytes of it.
pub(super) async fn drain(body: &mut ProxyBody, limit: u64) {
    let mut read = 0;
    while read < limit
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len) as u64;
    }
}

/// What happens in the middle of an answer's body.
#[derive(Clone, Copy)]
pub(super) enum BodyFault {
    /// The connection is reset.
    Reset,
    /// The connection is closed.
    Close,
    /// Nothing more comes.
    Stall,
    /// The body ends.
    End,
    /// One bit of the byte there is another one.
    Flip,
}

/// A body with a fault after `at` bytes.
pub(super) fn with_fault(
    body: Incoming,
    at: u64,
    fault: BodyFault,
    connection: ConnectionHandle,
) -> ProxyBody {
    let state = (body, at, false, connection);
    let frames = stream::unfold(
        state,
        move |(mut body, mut left, mut over, connection)| async move {
            if !over && left == 0 && !matches!(fault, BodyFault::Flip) {
                match fault {
                    BodyFault::Reset => connection.cut(ConnectionEnd::Reset).await,
                    BodyFault::Close => connection.cut(ConnectionEnd::Close).await,
                    BodyFault::Stall => std::future::pending().await,
                    BodyFault::End | BodyFault::Flip => return None,
                }
            }
            let mut data = match body.frame().await? {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => return Some((Err(error), (body, left, over, connection))),
            };
            if !over && matches!(fault, BodyFault::Flip) && data.len() as u64 > left {
                data = flipped(&data, usize::try_from(left).expect("within the frame"));
                over = true;
            } else if !over && !matches!(fault, BodyFault::Flip) {
                data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            }
            left = left.saturating_sub(data.len() as u64);
            Some((Ok(Frame::data(data)), (body, left, over, connection)))
        },
    );
    StreamBody::new(frames).boxed_unsync()
}

/// What an over-long body has at its end.
pub(super) const MORE: &[u8] = b"more than there should be";

/// A body with [`MORE`] at its end.
pub(super) fn longer(body: Incoming) -> ProxyBody {
    let more = stream::iter([Ok(Frame::data(Bytes::from_static(MORE)))]);
    StreamBody::new(body.into_data_stream().map_ok(Frame::data).chain(more)).boxed_unsync()
}

fn flipped(data: &Bytes, at: usize) -> Bytes {
    let mut data = BytesMut::from(&data[..]);
    data[at] ^= 1;
    data.freeze()
}

/// A body that keeps its request counted until it has gone.
struct Counted {
    body: ProxyBody,
    _in_flight: InFlight,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Keeps the request of this answer counted until its body has gone.
pub(super) fn counted(body: ProxyBody, in_flight: InFlight) -> ProxyBody {
    let counted = Counted {
        body,
        _in_flight: in_flight,
    };
    counted.boxed_unsync()
}
