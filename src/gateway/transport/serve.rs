//! One HTTP/2 connection that is served: calls are accepted, each in a task of the connection.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::{RecvStream, server::Connection};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    proxy::{CallOutcome, Responder},
    pump,
    read_pacing::ReadPacer,
};

/// A call that has come.
type Call = (Request<RecvStream>, Responder);

/// Serves `connection` until its peer closes it; after `drain` it takes no new calls and ends with
/// the last one. All calls end with it. Where callers are not trusted to let their calls be, `pacer`
/// says when more of them may come.
pub(crate) async fn serve<T, F>(
    mut connection: Connection<T, Bytes>,
    drain: CancellationToken,
    pacer: Option<&ReadPacer<'_>>,
    mut call: impl FnMut(Request<RecvStream>, Responder) -> F,
) -> Result<(), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = CallOutcome> + Send + 'static,
{
    let mut calls = JoinSet::new();
    let mut draining = false;
    loop {
        tokio::select! {
            accepted = poll_fn(|cx| accept(&mut connection, pacer, cx)) => match accepted {
                Some(Ok((request, mut respond))) => {
                    if pump::caller_reset(&mut respond).now_or_never().is_some() {
                        wait_after_reset(pacer).await;
                    } else {
                        let call = call(request, respond);
                        calls.spawn(call.instrument(tracing::debug_span!("task", name = "call")));
                        set_in_use(pacer, true);
                    }
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            Some(ended) = calls.join_next() => {
                set_in_use(pacer, !calls.is_empty());
                match ended {
                    Ok(CallOutcome::Finished) => {}
                    Ok(CallOutcome::Cancelled) => wait_after_reset(pacer).await,
                    Err(error) => {
                        tracing::error!(%error, "a call ended in a panic; its caller sees a reset");
                    }
                }
            }
            () = drain.cancelled(), if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// The next call. When there is none, more may be read.
fn accept<T>(
    connection: &mut Connection<T, Bytes>,
    pacer: Option<&ReadPacer<'_>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Call, h2::Error>>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let accepted = connection.poll_accept(cx);
    if let (Poll::Pending, Some(pacer)) = (&accepted, pacer) {
        pacer.replenish(cx);
    }
    accepted
}

/// Leaves the connection unread until it is its turn.
async fn wait_after_reset(pacer: Option<&ReadPacer<'_>>) {
    if let Some(pacer) = pacer {
        pacer.wait_after_reset().await;
    }
}

/// Says whether calls are under way.
fn set_in_use(pacer: Option<&ReadPacer<'_>>, in_use: bool) {
    if let Some(pacer) = pacer {
        pacer.set_in_use(in_use);
    }
}
