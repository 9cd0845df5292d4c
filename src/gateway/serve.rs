//! One HTTP/2 connection that is served: calls are accepted, each in a task of the connection.

use bytes::Bytes;
use h2::{RecvStream, server::Connection};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::proxy::Respond;

/// Serves `connection` until its peer closes it; after `drain` it takes no new calls and ends with
/// the last one. All calls end with it.
pub(super) async fn serve<T, F>(
    mut connection: Connection<T, Bytes>,
    drain: CancellationToken,
    mut call: impl FnMut(Request<RecvStream>, Respond) -> F,
) -> Result<(), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = ()> + Send + 'static,
{
    let mut calls = JoinSet::new();
    let mut draining = false;
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    calls.spawn(call(request, respond));
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            Some(ended) = calls.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a call ended in a panic; its caller sees a reset");
                }
            }
            () = drain.cancelled(), if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
        }
    }
}
