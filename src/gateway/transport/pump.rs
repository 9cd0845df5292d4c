//! One direction of a call: DATA with flow control, then trailers, or a reset.
//!
//! A byte is released to its sender only after the receiver has taken it, so that a slow receiver
//! slows its own sender and memory stays flat.

use std::future::poll_fn;

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::HeaderMap;

/// A direction of a call broke before its end.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// The sending peer reset the stream, or its connection is gone.
    Source(h2::Error),
    /// The receiving peer reset the stream, or its connection is gone.
    Sink(Reason),
}

/// Moves a body and its trailers from one stream to another.
pub(crate) async fn pump(
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
) -> Result<(), PumpError> {
    while let Some(data) = next_data(from, to).await? {
        let length = data.len();
        let end = from.is_end_stream();
        send(to, data, end).await?;
        // The stream may be over for its sender by now; then nobody waits for the release.
        let _ = from.flow_control().release_capacity(length);
        if end {
            return Ok(());
        }
    }
    let trailers = from.trailers().await.map_err(PumpError::Source)?;
    finish(to, trailers)
}

/// The next piece of a body that is not empty, unless the receiver leaves first.
///
/// Empty pieces end here: a hundred of them would end the connection that they go to.
pub(super) async fn next_data(
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
) -> Result<Option<Bytes>, PumpError> {
    loop {
        let data = tokio::select! {
            reason = receiver_reset(to) => return Err(PumpError::Sink(reason)),
            data = from.data() => data.transpose().map_err(PumpError::Source)?,
        };
        match data {
            Some(data) if data.is_empty() && !from.is_end_stream() => {}
            data => return Ok(data),
        }
    }
}

/// Sends all of `data` as the receiver's window opens.
pub(crate) async fn send(
    to: &mut SendStream<Bytes>,
    mut data: Bytes,
    end: bool,
) -> Result<(), PumpError> {
    if data.is_empty() {
        return if end { finish(to, None) } else { Ok(()) };
    }
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        // poll_capacity tells changes only: what was assigned before must be asked for.
        let mut capacity = to.capacity();
        while capacity == 0 {
            match poll_fn(|cx| to.poll_capacity(cx)).await {
                Some(Ok(assigned)) => capacity = assigned,
                Some(Err(_)) | None => return Err(PumpError::Sink(close_reason(to))),
            }
        }
        let piece = data.split_to(capacity.min(data.len()));
        let end = end && data.is_empty();
        if to.send_data(piece, end).is_err() {
            return Err(PumpError::Sink(close_reason(to)));
        }
    }
    Ok(())
}

/// Ends a body, with its trailers if it has any.
pub(crate) fn finish(
    to: &mut SendStream<Bytes>,
    trailers: Option<HeaderMap>,
) -> Result<(), PumpError> {
    let sent = match trailers {
        Some(trailers) => to.send_trailers(trailers),
        None => to.send_data(Bytes::new(), true),
    };
    sent.map_err(|_| PumpError::Sink(close_reason(to)))
}

/// Ready when the receiver of a body resets it.
pub(crate) async fn receiver_reset(to: &mut SendStream<Bytes>) -> Reason {
    let polled = poll_fn(|cx| to.poll_reset(cx)).await;
    polled.unwrap_or_else(|error| reset_reason(&error))
}

/// Ready when the caller resets a call that has no response head yet.
pub(crate) async fn caller_reset(respond: &mut SendResponse<Bytes>) -> Reason {
    let polled = poll_fn(|cx| respond.poll_reset(cx)).await;
    polled.unwrap_or_else(|error| reset_reason(&error))
}

/// The code of a reset, for the other side of the call.
pub(crate) fn reset_reason(error: &h2::Error) -> Reason {
    match error.reason() {
        // A connection that ends gives its own reason, which says nothing of this call.
        Some(reason) if error.is_reset() => reason,
        _ => Reason::CANCEL,
    }
}

fn close_reason(to: &mut SendStream<Bytes>) -> Reason {
    receiver_reset(to).now_or_never().unwrap_or(Reason::CANCEL)
}
