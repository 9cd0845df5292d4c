//! One connection of a client, and what becomes of each call on it.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::RecvStream;
use http::Request;

use super::{
    http2,
    intake::Intake,
    intercept::{self, Method},
    interceptor::Interceptor,
    io::BoxedIo,
    proxy::{self, Outcome, Respond},
    resets::Resets,
    routes::Route,
    serve, session,
    upstream::Upstream,
};
use crate::{http1::ConnectionPermit, lifecycle::Tasks, net::Address};

/// How long TLS and HTTP/2 may take to begin: a peer that says nothing must not stay.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// What all connections share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) upstream: Address,
    pub(super) interceptor: Arc<dyn Interceptor>,
    pub(super) resets: Arc<Resets>,
    pub(super) tasks: Tasks,
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

/// Serves a connection until its client closes it.
pub(super) async fn serve(
    open: impl Future<Output = io::Result<BoxedIo>>,
    peer: String,
    seat: ConnectionPermit,
    shared: Shared,
) {
    tokio::select! {
        ended = run(open, &seat, shared) => if let Err(error) = ended {
            tracing::debug!(peer, %error, "a client's connection ended");
        },
        () = seat.evicted() => {
            tracing::debug!(peer, "a client's connection without calls makes room for another");
        }
    }
}

async fn run(
    open: impl Future<Output = io::Result<BoxedIo>>,
    seat: &ConnectionPermit,
    shared: Shared,
) -> Result<(), Failed> {
    let handshake = async {
        let (io, intake) = Intake::of(open.await?, seat, shared.resets);
        let connection = http2::server().handshake::<_, Bytes>(io).await?;
        Ok::<_, Failed>((connection, intake))
    };
    let connection = tokio::time::timeout(HANDSHAKE, handshake).await;
    let (connection, intake) = connection.map_err(|_| Failed::Silent)??;
    let drain = shared.tasks.shutdown().clone();
    let client = Arc::new(Client {
        upstream: Upstream::new(shared.upstream, shared.tasks.clone()),
        interceptor: shared.interceptor,
        tasks: shared.tasks,
    });
    let call = |request, respond| Arc::clone(&client).call(request, respond);
    Ok(serve::serve(connection, drain, Some(&intake), call).await?)
}

/// A client, with its own way to buildkitd.
struct Client {
    upstream: Upstream,
    interceptor: Arc<dyn Interceptor>,
    tasks: Tasks,
}

impl Client {
    async fn call(self: Arc<Self>, request: Request<RecvStream>, mut respond: Respond) -> Outcome {
        let callee = match self.upstream.requests().await {
            Ok(callee) => callee,
            Err(status) => {
                tracing::warn!(%status, "a call was not forwarded");
                return proxy::answer(&status, &mut respond);
            }
        };
        let method = match Route::of(request.uri().path()) {
            Route::Pass => return proxy::forward(request, respond, callee).await,
            Route::Session => {
                let interceptor = &self.interceptor;
                return session::carry(request, respond, callee, interceptor, &self.tasks).await;
            }
            Route::Solve => Method::Solve,
            Route::LlbSolve => Method::LlbSolve,
            Route::Status => Method::Status,
            Route::Trace => Method::Trace,
        };
        intercept::carry(method, request, respond, callee, self.interceptor.as_ref()).await
    }
}
