//! Connections: accepted up to a number, each with limits, all drained at the end.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceExt as _;

use super::{Service, steady::Steady, surface};
use crate::lifecycle::Tasks;

/// Most connections at once. A build uses a few dozen; the rest wait in the listen queue.
const MAX_CONNECTIONS: usize = 1024;

/// How long a connection may take to send the head of a request, or to send none at all.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);

/// Longest head of a request: a token of GitHub has about 2 KiB.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// How long to wait when the system has no file descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves on `listener` until `tasks` are asked to end; then takes no more connections. The requests
/// that are in flight belong to `tasks` and finish while those drain.
pub async fn serve(listener: TcpListener, service: Service, tasks: &Tasks) -> io::Result<()> {
    let local = listener.local_addr()?;
    let router = surface::router(service.clone(), local);
    let shutdown = tasks.shutdown().clone();
    tasks.spawn("service gc", async move {
        service.collect_until(shutdown).await;
    });
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = tasks.shutdown().cancelled() => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, router.clone(), tasks.clone());
                tasks.spawn("service connection", async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, tasks: Tasks) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY cannot be set");
    }
    let shutdown = tasks.shutdown().clone();
    let respond = service_fn(move |request: Request<Incoming>| {
        let response = router
            .clone()
            .oneshot(request.map(|body| Body::new(Steady::new(body, &tasks))));
        async move {
            let response: Result<_, Infallible> = response.await;
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), respond);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
