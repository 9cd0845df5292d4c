//! One connection of a client, from its handshake to its last call.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::RecvStream;
use http::Request;
use tokio_util::sync::CancellationToken;

use super::{
    http2,
    io::BoxedIo,
    proxy::{CallOutcome, Responder},
    read_pacing::ReadPacer,
    reset_limiter::ResetLimiter,
    serve,
};
use crate::http1::ConnectionPermit;

/// How long TLS and HTTP/2 may take to begin: a peer that says nothing must not stay.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// What all connections share.
#[derive(Clone)]
pub(crate) struct ConnectionContext {
    pub(crate) resets: Arc<ResetLimiter>,
    /// Cancelled when no more calls are to be taken.
    pub(crate) drain: CancellationToken,
}

/// Why a connection never served a call, or ended before its last one.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("no HTTP/2 within {HANDSHAKE:?}")]
    Silent,
    #[error("TLS: {0}")]
    Tls(#[from] io::Error),
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
}

/// Serves a connection until its client closes it; `call` carries each of its calls.
pub(crate) async fn serve<F>(
    open: impl Future<Output = io::Result<BoxedIo>>,
    peer: String,
    permit: ConnectionPermit,
    shared: ConnectionContext,
    call: impl FnMut(Request<RecvStream>, Responder) -> F,
) where
    F: Future<Output = CallOutcome> + Send + 'static,
{
    tokio::select! {
        ended = run(open, &permit, shared, call) => if let Err(error) = ended {
            tracing::debug!(peer, %error, "a client's connection ended");
        },
        () = permit.evicted() => {
            tracing::debug!(peer, "a client's connection without calls makes room for another");
        }
    }
}

async fn run<F>(
    open: impl Future<Output = io::Result<BoxedIo>>,
    permit: &ConnectionPermit,
    shared: ConnectionContext,
    call: impl FnMut(Request<RecvStream>, Responder) -> F,
) -> Result<(), ConnectionError>
where
    F: Future<Output = CallOutcome> + Send + 'static,
{
    let handshake = async {
        let (io, pacer) = ReadPacer::new(open.await?, permit, shared.resets);
        let connection = http2::server().handshake::<_, Bytes>(io).await?;
        Ok::<_, ConnectionError>((connection, pacer))
    };
    let connection = tokio::time::timeout(HANDSHAKE, handshake).await;
    let (connection, pacer) = connection.map_err(|_| ConnectionError::Silent)??;
    Ok(serve::serve(connection, shared.drain, Some(&pacer), call).await?)
}
