//! The service's connections: their limits, and the garbage collection beside them.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{BoxError, Router};
use http::Extensions;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{config::affordable, http2, instance::Service, peers::Peers, surface, tls::HTTP2};
use crate::{
    http1::{self, Capacity, Limits, Peer, PeerPermit},
    lifecycle::Tasks,
};

const LIMITS: Limits = Limits {
    connections: MAX_CONNECTIONS,
    // Go's HTTP client keeps an idle connection for 90 s.
    head_time: Duration::from_secs(90),
    // A token of GitHub has about 2 KiB.
    head_bytes: 64 << 10,
    // A reader whose own disk is full or busy may stand still for minutes.
    stall: Duration::from_mins(10),
};

/// Most connections in all. A build uses a few dozen, a farm of builders some hundred.
const MAX_CONNECTIONS: usize = 2048;

/// What one peer may have of them: a network behind one address is a peer, and so are all builders of
/// this machine, but nobody has all.
const PEERS_SHARE: usize = 2;

/// Connections beyond those, for probes: each is read for a moment and given up first.
const PROBE_CONNECTIONS: usize = 64;

/// Files of which a connection needs two at most: itself, and the content that it reads.
const FILES_PER_CONNECTION: u64 = 4;

/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// How long to wait when the system has no file descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves on `listener` until `tasks` are asked to end; then takes no more connections. The requests
/// that are in flight belong to `tasks` and finish while those drain.
pub async fn serve(listener: TcpListener, service: Service, tasks: &Tasks) -> io::Result<()> {
    let local = listener.local_addr()?;
    let router = surface::router(service.clone(), local);
    service.announce(local).await.map_err(io::Error::other)?;
    let shutdown = tasks.shutdown().clone();
    let collecting = service.clone();
    tasks.spawn("service gc", async move {
        collecting.collect_until(shutdown).await;
    });
    let (shutdown, renewing) = (tasks.shutdown().clone(), service.clone());
    tasks.spawn("service lease", async move {
        renewing.renew_lease_until(shutdown).await;
    });
    let (shutdown, refreshing) = (tasks.shutdown().clone(), service.clone());
    tasks.spawn("issuers' keys", async move {
        refreshing.refresh_keys_until(shutdown).await;
    });
    let (shutdown, evicting) = (tasks.shutdown().clone(), service.clone());
    tasks.spawn("service eviction", async move {
        evicting.evict_until(shutdown).await;
    });
    let (shutdown, sharing) = (tasks.shutdown().clone(), service.clone());
    tasks.spawn("shared contents", async move {
        sharing.share_until(shutdown).await;
    });
    let config = service.config();
    let peers = Arc::new(Peers::new(
        capacity(),
        config.trusted_proxies.clone(),
        config.proxy_protocol.clone(),
    ));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = tasks.shutdown().cancelled() => return Ok(()),
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(permit) = peers.acquire(peer) else {
                    continue;
                };
                let accepted = Accepted {
                    peer,
                    permit,
                    peers: Arc::clone(&peers),
                    tls: service.tls().cloned(),
                };
                let connection = accepted.serve(stream, router.clone(), tasks.clone());
                tasks.spawn("HTTP connection", connection);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                peers.evict_idle();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// As many as the system has files for.
fn capacity() -> Capacity {
    let total = affordable(MAX_CONNECTIONS, FILES_PER_CONNECTION).max(PEERS_SHARE);
    Capacity {
        total,
        per_peer: total / PEERS_SHARE,
        probe_only: PROBE_CONNECTIONS.min(total),
    }
}

/// A connection of which nothing has been read.
struct Accepted {
    peer: SocketAddr,
    permit: PeerPermit,
    peers: Arc<Peers>,
    tls: Option<TlsAcceptor>,
}

impl Accepted {
    async fn serve(self, mut stream: TcpStream, router: Router, tasks: Tasks) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let peers = self.peers;
        let identified = peers.identify(&mut stream, self.peer, self.permit, &tasks);
        let Some((peer, permit)) = identified.await else {
            return;
        };
        let connection = Connection {
            peer,
            permit: Arc::new(permit),
            tls: self.tls,
        };
        connection.serve(stream, router, tasks).await;
    }
}

/// One connection whose client is known.
struct Connection {
    peer: SocketAddr,
    permit: Arc<PeerPermit>,
    tls: Option<TlsAcceptor>,
}

impl Connection {
    async fn serve(self, stream: TcpStream, router: Router, tasks: Tasks) {
        let peer = self.peer;
        tokio::select! {
            ended = self.serve_stream(stream, router, tasks) => if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection ended early");
            },
            () = self.permit.evicted() => {
                tracing::debug!(%peer, "an idle connection makes room for another");
            }
        }
    }

    async fn serve_stream(
        &self,
        stream: TcpStream,
        router: Router,
        tasks: Tasks,
    ) -> Result<(), BoxError> {
        let mark = self.mark();
        let Some(tls) = &self.tls else {
            return Ok(http1::serve_connection(stream, mark, |_| (), router, LIMITS, tasks).await?);
        };
        let stream = timeout(HANDSHAKE, tls.accept(stream)).await??;
        if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
            return http2::serve_connection(stream, mark, router, LIMITS, tasks).await;
        }
        Ok(http1::serve_connection(stream, mark, |_| (), router, LIMITS, tasks).await?)
    }

    /// What each request of the connection is told.
    fn mark(&self) -> impl Fn(&mut Extensions) + use<> {
        let (peer, permit) = (Peer(self.peer), Arc::clone(&self.permit));
        move |extensions: &mut Extensions| {
            extensions.insert(peer);
            extensions.insert(Arc::clone(&permit));
        }
    }
}

/// Says that everybody who has an account at GitHub may use the service.
pub fn warn_if_open(service: &Service) {
    if service.issuers().are_open() {
        tracing::warn!(
            "every repository of GitHub may use this service, whoever it belongs to, if it can reach it: \
             name those that may (--trust-repository), or keep others off its network"
        );
    }
}

/// Says that tokens can be listened to on `local`, unless a proxy is known to stand in front.
pub fn warn_if_in_clear(local: SocketAddr, service: &Service) {
    let config = service.config();
    let behind_proxy = !config.trusted_proxies.is_empty()
        || config
            .base_url
            .as_ref()
            .is_some_and(|url| url.scheme() == "https");
    if service.tls().is_none() && !behind_proxy && !local.ip().is_loopback() {
        tracing::warn!(
            %local,
            "tokens and signed URLs travel in clear to whoever can listen on this network: give \
             --tls-cert and --tls-key, or put a proxy with TLS in front (--trusted-proxy, --base-url)"
        );
    }
}
