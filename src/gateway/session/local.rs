//! Answers a call inside a session by a tower service.

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

use crate::gateway::transport::{
    head,
    proxy::Responder,
    pump::{self, PumpError},
};

/// How long a caller may take nothing of an answer. What it asked for keeps room in the spool
/// meanwhile; buildkitd writes it to its disk, which may stop for seconds.
const STALL_TIMEOUT: Duration = Duration::from_mins(2);

/// Answers a call; a caller who leaves ends the service's work at once.
pub(super) async fn answer<S, B>(
    mut service: S,
    request: Request<RecvStream>,
    mut respond: Responder,
) where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: std::fmt::Display,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let response = tokio::select! {
        _ = pump::caller_reset(&mut respond) => return,
        response = service.call(request.map(RequestBody)) => response,
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
    if let Err(PumpError::Sink(reason)) = send_body(body, &mut send).await {
        tracing::debug!(?reason, "the caller left during an answer");
    }
}

async fn send_body<B>(mut body: B, send: &mut h2::SendStream<Bytes>) -> Result<(), PumpError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    loop {
        let frame = tokio::select! {
            reason = pump::receiver_reset(send) => return Err(PumpError::Sink(reason)),
            frame = body.frame() => frame,
        };
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                let taken = tokio::time::timeout(STALL_TIMEOUT, pump::send(send, data, false));
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
pub(super) struct RequestBody(RecvStream);

impl Body for RequestBody {
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

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::{Ready, ready},
        sync::Arc,
    };

    use futures_util::stream::{self, BoxStream, StreamExt as _};
    use http_body_util::StreamBody;
    use tokio::{io::DuplexStream, time::Instant};

    use super::*;

    type Frames = BoxStream<'static, Result<Frame<Bytes>, Infallible>>;

    const PIECE: usize = 256 << 10;

    /// Answers with bytes that do not end, and holds something while they are sent.
    struct Endless(Arc<()>);

    impl Service<Request<RequestBody>> for Endless {
        type Response = Response<StreamBody<Frames>>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
            let held = Arc::clone(&self.0);
            let piece = Bytes::from(vec![0; PIECE]);
            // The stream owns what is held, and goes when the answer does.
            let pieces = stream::repeat((held, piece)).map(|(_, piece)| Ok(Frame::data(piece)));
            ready(Ok(Response::new(StreamBody::new(pieces.boxed()))))
        }
    }

    /// Serves one call, and the connection until its client leaves.
    async fn serve(io: DuplexStream, held: Arc<()>) {
        let mut connection = h2::server::handshake(io).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        tokio::select! {
            () = answer(Endless(held), request, respond) => {}
            _ = connection.accept() => return,
        }
        while connection.accept().await.is_some() {}
    }

    /// Reads an answer, of which each [`PIECE`] is released after `pause`, or none is; ends with
    /// the error that the answer ends with, or after `enough` bytes.
    async fn read(io: DuplexStream, pause: Option<Duration>, enough: usize) -> Option<h2::Reason> {
        let window = u32::try_from(PIECE).unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        builder.initial_connection_window_size(window);
        let (client, connection) = builder.handshake::<_, Bytes>(io).await.unwrap();
        let reading = async {
            let mut client = client.ready().await.unwrap();
            let request = Request::get("http://localhost/").body(()).unwrap();
            let (response, _) = client.send_request(request, true).unwrap();
            let mut body = response.await.unwrap().into_body();
            let (mut taken, mut unreleased) = (0, 0);
            while let Some(data) = body.data().await {
                let length = match data {
                    Ok(data) => data.len(),
                    Err(error) => return error.reason(),
                };
                taken += length;
                unreleased += length;
                if let Some(pause) = pause.filter(|_| unreleased >= PIECE / 4) {
                    tokio::time::sleep(pause).await;
                    body.flow_control().release_capacity(unreleased).unwrap();
                    unreleased = 0;
                }
                if taken >= enough {
                    break;
                }
            }
            None
        };
        tokio::select! {
            ended = reading => ended,
            ended = connection => panic!("the connection ended: {ended:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_stops_reading_is_cut_off_and_holds_nothing_any_more() {
        let (near, far) = tokio::io::duplex(64 << 10);
        let held = Arc::new(());
        let watched = Arc::downgrade(&held);
        let begun = Instant::now();
        let reading = async {
            let reason = read(far, None, usize::MAX).await;
            assert_eq!(reason, Some(h2::Reason::CANCEL));
            assert!(watched.upgrade().is_none(), "what it asked for is let go");
        };
        tokio::join!(serve(near, held), reading);
        let elapsed = begun.elapsed();
        assert!(
            elapsed >= STALL_TIMEOUT && elapsed < STALL_TIMEOUT * 2,
            "{elapsed:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_is_slow_is_not() {
        let (near, far) = tokio::io::duplex(64 << 10);
        let pause = Some(STALL_TIMEOUT / 8);
        let begun = Instant::now();
        let reading = async { assert_eq!(read(far, pause, 8 * PIECE).await, None) };
        tokio::join!(serve(near, Arc::new(())), reading);
        assert!(begun.elapsed() > STALL_TIMEOUT * 2, "{:?}", begun.elapsed());
    }
}
