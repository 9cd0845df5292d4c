//! Who connects: clients, and proxies that say for whom (the PROXY protocol).

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::net::TcpStream;

use super::network::Network;
use crate::{
    http1::{Capacity, PeerLimiter, PeerPermit},
    lifecycle::Tasks,
    net::proxy_protocol::{ProxyProtocolError, read_client},
};

/// The peers of one listener.
#[derive(Debug)]
pub(super) struct Peers {
    limiter: Arc<PeerLimiter>,
    /// Proxies whose connections are many clients'.
    trusted: Vec<Network>,
    /// Proxies whose connections begin with a header.
    proxy_protocol: Vec<Network>,
    /// Whether people were told of one that has sent none.
    told_of_header: AtomicBool,
}

impl Peers {
    /// Nobody yet.
    pub(super) fn new(
        capacity: Capacity,
        trusted: Vec<Network>,
        proxy_protocol: Vec<Network>,
    ) -> Self {
        Self {
            limiter: Arc::new(PeerLimiter::new(capacity)),
            trusted,
            proxy_protocol,
            told_of_header: AtomicBool::new(false),
        }
    }

    /// A place for a connection from `peer`, which is nobody's share where a proxy may stand for many.
    pub(super) fn acquire(&self, peer: SocketAddr) -> Option<PeerPermit> {
        self.place(peer, self.sends_header(peer))
    }

    fn place(&self, peer: SocketAddr, sends_header: bool) -> Option<PeerPermit> {
        let is_proxy = sends_header || contains(&self.trusted, peer.ip());
        let permit = self.limiter.acquire(peer.ip(), is_proxy);
        if permit.is_none() {
            tracing::debug!(%peer, "there is no place for a connection");
        }
        permit
    }

    /// Makes room when the system has no file for a connection.
    pub(super) fn evict_idle(&self) {
        self.limiter.evict_idle();
    }

    /// Whose connection it is, and its place: that of the client once a proxy has named it. `None` ends the
    /// connection.
    pub(super) async fn identify(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
        permit: PeerPermit,
        tasks: &Tasks,
    ) -> Option<(SocketAddr, PeerPermit)> {
        if !self.sends_header(peer) {
            return Some((peer, permit));
        }
        let client = tokio::select! {
            client = read_client(stream) => client,
            () = permit.evicted() => return None,
            () = tasks.shutdown().cancelled() => return None,
        };
        match client {
            Ok(None) => Some((peer, permit)),
            Ok(Some(client)) => {
                // Both would be one too many where places are short.
                drop(permit);
                // It has sent no header itself, whatever its address.
                Some((client, self.place(client, false)?))
            }
            Err(error) => {
                self.tell(peer, &error);
                None
            }
        }
    }

    fn sends_header(&self, peer: SocketAddr) -> bool {
        contains(&self.proxy_protocol, peer.ip())
    }

    /// Warns once: a proxy that is set up otherwise connects again and again.
    fn tell(&self, proxy: SocketAddr, error: &ProxyProtocolError) {
        let is_check = matches!(error, ProxyProtocolError::Empty);
        if is_check || self.told_of_header.swap(true, Ordering::Relaxed) {
            tracing::debug!(%proxy, %error, "a connection is refused");
            return;
        }
        tracing::warn!(
            %proxy,
            "a connection from a proxy of --proxy-protocol is refused: {error}; let the proxy send the header, or take \
             its address out of --proxy-protocol (more of these are at debug)"
        );
    }
}

fn contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn the_place_of_a_connection_is_that_of_the_client_whom_its_proxy_names() {
        let capacity = Capacity {
            total: 3,
            per_peer: 1,
            probe_only: 0,
        };
        let proxies = vec!["127.0.0.0/8".parse().unwrap()];
        let peers = Peers::new(capacity, Vec::new(), proxies);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut proxy = TcpStream::connect(address).await.unwrap();
        let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 3000\r\n";
        proxy.write_all(header).await.unwrap();
        let (mut stream, peer) = listener.accept().await.unwrap();
        let permit = peers.acquire(peer).unwrap();
        let tasks = Tasks::default();
        let identified = peers.identify(&mut stream, peer, permit, &tasks);
        let (client, permit) = identified.await.unwrap();
        assert_eq!(client, "192.0.2.7:4711".parse().unwrap());
        let other = peers.acquire("192.0.2.8:1".parse().unwrap()).unwrap();
        let second = peers.acquire("192.0.2.7:4712".parse().unwrap());
        assert!(second.is_some(), "the first of that client made room");
        permit.evicted().await;
        drop(other);
    }
}
