//! The service's connections: their limits, and the garbage collection beside them.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::Extensions;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};

use super::{
    Service,
    places::{Capacity, Placed, Places},
    surface,
};
use crate::{
    http1::{self, Limits, Peer},
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
const SPARE_CONNECTIONS: usize = 64;

/// Files of which a connection needs two at most: itself, and the content that it reads.
const FILES_PER_CONNECTION: u64 = 4;

/// How long to wait when the system has no file descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves on `listener` until `tasks` are asked to end; then takes no more connections. The requests
/// that are in flight belong to `tasks` and finish while those drain.
pub async fn serve(listener: TcpListener, service: Service, tasks: &Tasks) -> io::Result<()> {
    let local = listener.local_addr()?;
    let router = surface::router(service.clone(), local);
    let shutdown = tasks.shutdown().clone();
    let collecting = service.clone();
    tasks.spawn("service gc", async move {
        collecting.collect_until(shutdown).await;
    });
    let places = Arc::new(Places::new(capacity()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = tasks.shutdown().cancelled() => return Ok(()),
        };
        match accepted {
            Ok((stream, peer)) => {
                let trusted = &service.config().trusted_proxies;
                let proxy = trusted.iter().any(|network| network.contains(peer.ip()));
                let Some(seat) = places.take(peer.ip(), proxy) else {
                    tracing::debug!(%peer, "there is no place for a connection");
                    continue;
                };
                let connection =
                    serve_connection(stream, peer, seat, router.clone(), tasks.clone());
                tasks.spawn("HTTP connection", connection);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                places.shed();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// As many as the system has files for.
fn capacity() -> Capacity {
    let files = getrlimit(Resource::Nofile).current;
    let affordable = files.map_or(u64::MAX, |files| files / FILES_PER_CONNECTION);
    let all = usize::try_from(affordable).unwrap_or(usize::MAX);
    let all = all.clamp(2, MAX_CONNECTIONS);
    Capacity {
        all,
        per_peer: all / PEERS_SHARE,
        spare: SPARE_CONNECTIONS.min(all),
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    placed: Placed,
    router: axum::Router,
    tasks: Tasks,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY cannot be set");
    }
    let placed = Arc::new(placed);
    let of_requests = Arc::clone(&placed);
    let mark = move |extensions: &mut Extensions| {
        extensions.insert(Peer(peer));
        extensions.insert(Arc::clone(&of_requests));
    };
    let served = http1::serve_connection(stream, mark, router, LIMITS, tasks);
    tokio::select! {
        ended = served => if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        },
        () = placed.seat.evicted() => {
            tracing::debug!(%peer, "an idle connection makes room for another");
        }
    }
}
