//! One connection of a client, from its handshake to its last call.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::RecvStream;
use http::Request;
use tokio_util::sync::CancellationToken;

use super::{
    http2,
    intake::Intake,
    io::BoxedIo,
    proxy::{Outcome, Respond},
    resets::Resets,
    serve,
};
use crate::http1::ConnectionPermit;

/// How long TLS and HTTP/2 may take to begin: a peer that says nothing must not stay.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) resets: Arc<Resets>,
    /// Cancelled when no more calls are to be taken.
    pub(crate) drain: CancellationToken,
}

/// Why a connection never served a call, or ended before its last one.
#[derive(Debug, thiserror::Error)]
enum Failed {
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
    seat: ConnectionPermit,
    shared: Shared,
    call: impl FnMut(Request<RecvStream>, Respond) -> F,
) where
    F: Future<Output = Outcome> + Send + 'static,
{
    tokio::select! {
        ended = run(open, &seat, shared, call) => if let Err(error) = ended {
            tracing::debug!(peer, %error, "a client's connection ended");
        },
        () = seat.evicted() => {
            tracing::debug!(peer, "a client's connection without calls makes room for another");
        }
    }
}

async fn run<F>(
    open: impl Future<Output = io::Result<BoxedIo>>,
    seat: &ConnectionPermit,
    shared: Shared,
    call: impl FnMut(Request<RecvStream>, Respond) -> F,
) -> Result<(), Failed>
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let handshake = async {
        let (io, intake) = Intake::of(open.await?, seat, shared.resets);
        let connection = http2::server().handshake::<_, Bytes>(io).await?;
        Ok::<_, Failed>((connection, intake))
    };
    let connection = tokio::time::timeout(HANDSHAKE, handshake).await;
    let (connection, intake) = connection.map_err(|_| Failed::Silent)??;
    Ok(serve::serve(connection, shared.drain, Some(&intake), call).await?)
}
