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

use super::{
    intake::Intake,
    proxy::{Outcome, Respond},
    pump,
};

/// A call that has come.
type Call = (Request<RecvStream>, Respond);

/// Serves `connection` until its peer closes it; after `drain` it takes no new calls and ends with
/// the last one. All calls end with it. Where callers are not trusted to let their calls be, `intake`
/// says when more of them may come.
pub(crate) async fn serve<T, F>(
    mut connection: Connection<T, Bytes>,
    drain: CancellationToken,
    intake: Option<&Intake<'_>>,
    mut call: impl FnMut(Request<RecvStream>, Respond) -> F,
) -> Result<(), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut calls = JoinSet::new();
    let mut draining = false;
    loop {
        tokio::select! {
            accepted = poll_fn(|cx| accept(&mut connection, intake, cx)) => match accepted {
                Some(Ok((request, mut respond))) => {
                    if pump::left(&mut respond).now_or_never().is_some() {
                        turn(intake).await;
                    } else {
                        calls.spawn(call(request, respond));
                        use_of(intake, true);
                    }
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            Some(ended) = calls.join_next() => {
                use_of(intake, !calls.is_empty());
                match ended {
                    Ok(Outcome::Over) => {}
                    Ok(Outcome::Left) => turn(intake).await,
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
    intake: Option<&Intake<'_>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Call, h2::Error>>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let accepted = connection.poll_accept(cx);
    if let (Poll::Pending, Some(intake)) = (&accepted, intake) {
        intake.more(cx);
    }
    accepted
}

/// Leaves the connection unread until it is its turn.
async fn turn(intake: Option<&Intake<'_>>) {
    if let Some(intake) = intake {
        intake.turn().await;
    }
}

/// Says whether calls are under way.
fn use_of(intake: Option<&Intake<'_>>, in_use: bool) {
    if let Some(intake) = intake {
        intake.in_use(in_use);
    }
}
