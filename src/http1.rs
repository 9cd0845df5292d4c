//! HTTP/1 connections for a router: accepted up to a number, each with limits, all drained at the
//! end. The loopback endpoint and the embedded service stand on it.

mod connection_limiter;
mod peer_limiter;
mod stall_timeout;

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{BoxError, Router, body::Body, response::Response};
use http::Extensions;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::lifecycle::Tasks;
pub(crate) use connection_limiter::{ConnectionLimiter, ConnectionPermit};
pub(crate) use peer_limiter::{Capacity, PeerLimiter, PeerPermit, RequestPermit};
pub(crate) use stall_timeout::StallTimeoutBody;

/// How long to wait when the system has no file descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a TLS handshake may take. Whoever connects begins it at once, and holds a place until it is
/// done; on a machine that stands still for seconds it must not fail.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Who has sent a request: one of its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub SocketAddr);

/// What clients may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once. More take the places of those that have had no success yet, the oldest first; where
    /// there is none of these, they wait in the listen queue.
    pub(crate) connections: usize,
    /// How long a connection may take to send the head of a request, or to send none at all.
    pub(crate) head_time: Duration,
    /// Longest head of a request.
    pub(crate) head_bytes: usize,
    /// How long a reader may take nothing of an answer before its connection is cut: what it was
    /// sent keeps memory, disk or a place among the connections.
    pub(crate) stall: Duration,
}

/// Serves on `listener`, with TLS if there is `tls`, until `tasks` are asked to end; then takes no more
/// connections. The requests that are in flight belong to `tasks` and finish while those drain. `open` counts the connections.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    tasks: &Tasks,
    open: &TaskTracker,
) {
    let limiter = ConnectionLimiter::new(limits.connections);
    loop {
        let accepted = async {
            let accepted = listener.accept().await;
            limiter.ready().await;
            accepted
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = tasks.shutdown().cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY cannot be set");
                }
                let permit = limiter.acquire();
                let (router, tasks_of_it, tls) = (router.clone(), tasks.clone(), tls.clone());
                let connection = async move {
                    let peer = Peer(peer);
                    let served =
                        open_and_serve(stream, tls, peer, &permit, router, limits, tasks_of_it);
                    tokio::select! {
                        ended = served => if let Err(error) = ended {
                            tracing::debug!(%error, "a connection ended early");
                        },
                        () = permit.evicted() => {
                            tracing::debug!("a connection without success makes room for another");
                        }
                    }
                };
                tasks.spawn("HTTP connection", open.track_future(connection));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                limiter.evict_oldest();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn open_and_serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    peer: Peer,
    permit: &ConnectionPermit,
    router: Router,
    limits: Limits,
    tasks: Tasks,
) -> Result<(), BoxError> {
    let mark = move |extensions: &mut Extensions| {
        extensions.insert(peer);
    };
    // A client without a valid token or URL never has a success.
    let answered = |response: &Response| {
        if response.status().is_success() {
            permit.in_use();
        }
    };
    match tls {
        None => serve_connection(stream, mark, answered, router, limits, tasks).await?,
        Some(tls) => {
            let handshake = timeout(HANDSHAKE, tls.accept(stream));
            let stream = tokio::select! {
                handshake = handshake => handshake??,
                () = tasks.shutdown().cancelled() => return Ok(()),
            };
            serve_connection(stream, mark, answered, router, limits, tasks).await?;
        }
    }
    Ok(())
}

/// Serves one connection to its end. Each of its requests gets the extensions that `mark` gives it, and
/// `answered` is told of each answer.
pub(crate) async fn serve_connection<S: AsyncRead + AsyncWrite + Send>(
    stream: S,
    mark: impl Fn(&mut Extensions),
    answered: impl Fn(&Response) + Copy,
    router: Router,
    limits: Limits,
    tasks: Tasks,
) -> Result<(), hyper::Error> {
    let shutdown = tasks.shutdown().clone();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stall));
    let respond = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(|body| Body::new(StallTimeoutBody::new(body, &tasks)));
        mark(request.extensions_mut());
        let response = router.clone().oneshot(request);
        async move {
            let response: Result<Response, Infallible> = response.await;
            response.inspect(answered)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(Box::pin(stream)), respond);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

    async fn serving(limits: Limits) -> (std::net::SocketAddr, Tasks) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::default();
        let router = Router::new().route("/", get(|| async { "here" }));
        let own = tasks.clone();
        tasks.spawn("server", async move {
            serve(listener, None, router, limits, &own, &TaskTracker::new()).await;
        });
        (address, tasks)
    }

    async fn answered(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.is_ok() && answer == *b"HTTP/1.1 200"
    }

    #[tokio::test]
    async fn a_connection_too_many_waits_for_another_to_end() {
        let (address, _tasks) = serving(Limits {
            connections: 1,
            head_time: Duration::from_mins(1),
            head_bytes: 8 << 10,
            stall: Duration::from_mins(1),
        })
        .await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(REQUEST).await.unwrap();
        assert!(answered(&mut first).await);
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(REQUEST).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(50), answered(&mut second));
        assert!(early.await.is_err(), "the first holds the only place");
        drop(first);
        assert!(answered(&mut second).await);
    }

    #[tokio::test]
    async fn connections_without_success_make_room() {
        let (address, _tasks) = serving(Limits {
            connections: 2,
            head_time: Duration::from_mins(1),
            head_bytes: 8 << 10,
            stall: Duration::from_mins(1),
        })
        .await;
        let mut used = TcpStream::connect(address).await.unwrap();
        used.write_all(REQUEST).await.unwrap();
        assert!(answered(&mut used).await);
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut refused = TcpStream::connect(address).await.unwrap();
        let end = silent.read(&mut [0; 1]).await;
        assert!(
            !matches!(end, Ok(1..)),
            "the oldest that is not in use goes"
        );
        let elsewhere = b"GET /elsewhere HTTP/1.1\r\nHost: h\r\n\r\n";
        refused.write_all(elsewhere).await.unwrap();
        let mut answer = [0; 12];
        refused.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, *b"HTTP/1.1 404");
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(REQUEST).await.unwrap();
        assert!(answered(&mut next).await, "a refusal keeps no place");
        used.write_all(REQUEST).await.unwrap();
        let read = used.read(&mut [0; 1]).await;
        assert!(matches!(read, Ok(1..)), "one that is in use stays");
    }

    #[tokio::test]
    async fn who_says_nothing_or_too_much_is_sent_away() {
        let (address, _tasks) = serving(Limits {
            connections: 1,
            head_time: Duration::from_millis(10),
            head_bytes: 8 << 10,
            stall: Duration::from_mins(1),
        })
        .await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_mins(1), silent.read_to_end(&mut rest));
        assert!(closed.await.is_ok(), "the server closes the connection");

        let mut huge = TcpStream::connect(address).await.unwrap();
        let line = format!(
            "GET / HTTP/1.1\r\nHost: h\r\nx: {}\r\n\r\n",
            "x".repeat(64 << 10)
        );
        // The server may close before all of it has been sent.
        let _ = huge.write_all(line.as_bytes()).await;
        let mut rest = Vec::new();
        let _ = huge.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
}
