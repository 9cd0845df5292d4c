//! A call inside a session that is answered here, by a tower service.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::RecvStream;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tower_service::Service;

use crate::gateway::{
    head,
    proxy::Respond,
    pump::{self, Broken},
};

/// How long a caller may take nothing of an answer. What it asked for keeps room in the spool
/// meanwhile; buildkitd writes it to its disk, which may stop for seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// Answers a call; a caller who leaves ends the service's work at once.
pub(super) async fn answer<S, B>(mut service: S, request: Request<RecvStream>, mut respond: Respond)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: std::fmt::Display,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let response = tokio::select! {
        _ = pump::left(&mut respond) => return,
        response = service.call(request.map(Incoming)) => response,
    };
    let (parts, body) = match response {
        Ok(response) => response.into_parts(),
        Err(error) => {
            tracing::error!(%error, "a content call was not answered");
            return respond.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    };
    let end = body.is_end_stream();
    let Ok(mut send) = respond.send_response(head::response(parts), end) else {
        return;
    };
    if end {
        return;
    }
    if let Err(Broken::Sink(reason)) = send_body(body, &mut send).await {
        tracing::debug!(?reason, "the caller left during an answer");
    }
}

async fn send_body<B>(mut body: B, send: &mut h2::SendStream<Bytes>) -> Result<(), Broken>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    loop {
        let frame = tokio::select! {
            reason = pump::reset(send) => return Err(Broken::Sink(reason)),
            frame = body.frame() => frame,
        };
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                let taken = tokio::time::timeout(PATIENCE, pump::send(send, data, false));
                let Ok(taken) = taken.await else {
                    tracing::warn!("buildkitd has stopped reading an answer: it is cut off");
                    send.send_reset(h2::Reason::CANCEL);
                    return Ok(());
                };
                taken?;
            }
            Some(Ok(Err(other))) => {
                if let Ok(trailers) = other.into_trailers() {
                    return pump::finish(send, Some(trailers));
                }
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the answer to a content call broke off");
                send.send_reset(h2::Reason::INTERNAL_ERROR);
                return Ok(());
            }
            None => return pump::finish(send, None),
        }
    }
}

/// A request's body as tower services take it.
pub(super) struct Incoming(RecvStream);

impl Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(data) = ready!(self.0.poll_data(cx)) {
            let data = data?;
            // The service asks for the next piece when it has used this one.
            let _ = self.0.flow_control().release_capacity(data.len());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(self.0.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
