//! A bounded number of connections, shared out between peers.
//!
//! A connection that carries no authorised request keeps its place only as long as there are others:
//! when all are taken, the one that has been idle for longest is closed. One that never carried an
//! authorised request goes before one that is merely idle. Beside the ordinary connections there are a
//! few for probes only: the head of a request is read there, a probe is answered, and any other request is
//! turned away.
//!
//! [`super::ConnectionLimiter`] is for listeners whose clients all belong to one owner: it knows no peers and no
//! probes, and who finds no place waits in the listen queue instead.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    /// In all.
    pub(crate) total: usize,
    /// For one peer.
    pub(crate) per_peer: usize,
    /// Beyond those, for probes.
    pub(crate) probe_only: usize,
}

/// The connections of one listener and who may open more.
#[derive(Debug)]
pub(crate) struct PeerLimiter {
    capacity: Capacity,
    begun: Instant,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    by_id: HashMap<u64, Arc<ConnectionState>>,
    per_peer: HashMap<IpAddr, usize>,
    ordinary: usize,
}

/// What is known of one connection.
#[derive(Debug)]
struct ConnectionState {
    id: u64,
    /// Who counts for the limit of a peer; nothing for a proxy of ours.
    peer: Option<IpAddr>,
    /// Milliseconds from the limiter's beginning to when it was idle last.
    idle_since: AtomicU64,
    /// Authorised requests that are under way. HTTP/1 has one at a time.
    busy: AtomicU32,
    /// It has carried an authorised request.
    was_authorized: AtomicBool,
    probe_only: AtomicBool,
    evicted: CancellationToken,
    begun: Instant,
}

/// The place of one connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct PeerPermit {
    limiter: Arc<PeerLimiter>,
    connection: Arc<ConnectionState>,
}

/// A request on a connection, until it is over.
#[derive(Debug)]
pub(crate) struct RequestPermit {
    permit: Arc<PeerPermit>,
    /// It counts among those that keep the place.
    authorized: AtomicBool,
}

impl PeerLimiter {
    /// No connections yet.
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            begun: Instant::now(),
            connections: Mutex::default(),
        }
    }

    /// A place for a connection from `peer`, which counts for the limit of its peer unless it is
    /// `exempt`. `None` when even the places for probes are busy.
    pub(crate) fn acquire(self: &Arc<Self>, peer: IpAddr, exempt: bool) -> Option<PeerPermit> {
        let peer = (!exempt).then(|| network_of(peer));
        let mut connections = self.lock();
        let ordinary = connections.make_room(self.capacity, peer);
        if !ordinary && !connections.make_room_for_probe(self.capacity) {
            return None;
        }
        connections.next += 1;
        let connection = Arc::new(ConnectionState {
            id: connections.next,
            peer,
            idle_since: AtomicU64::new(millis(self.begun)),
            busy: AtomicU32::new(0),
            was_authorized: AtomicBool::new(false),
            probe_only: AtomicBool::new(!ordinary),
            evicted: CancellationToken::new(),
            begun: self.begun,
        });
        connections.add(&connection);
        Some(PeerPermit {
            limiter: Arc::clone(self),
            connection,
        })
    }

    /// Frees the place of whoever has been idle for longest, if anybody is: the system has no more
    /// files for connections.
    pub(crate) fn evict_idle(&self) {
        let mut connections = self.lock();
        let idlest = connections.idlest(|_| true);
        connections.evict(idlest);
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // Nothing panics while it holds the lock.
        self.connections.lock()
    }
}

impl PeerPermit {
    /// True if a request other than a probe may be answered here: where it could not be when the
    /// connection came, a place may be free by now.
    fn may_serve(&self) -> bool {
        if !self.connection.probe_only.load(Ordering::Relaxed) {
            return true;
        }
        let mut connections = self.limiter.lock();
        if !connections.by_id.contains_key(&self.connection.id)
            || !connections.make_room(self.limiter.capacity, self.connection.peer)
        {
            return false;
        }
        connections.remove(&self.connection);
        self.connection.probe_only.store(false, Ordering::Relaxed);
        connections.add(&self.connection);
        true
    }

    /// A request has begun.
    pub(crate) fn request(self: &Arc<Self>) -> RequestPermit {
        RequestPermit {
            permit: Arc::clone(self),
            authorized: AtomicBool::new(false),
        }
    }

    /// Returns when the place was given to somebody else.
    pub(crate) async fn evicted(&self) {
        self.connection.evicted.cancelled().await;
    }
}

impl RequestPermit {
    /// The request is an authorised one: the place of its connection is safe until it is over.
    pub(crate) fn authorized(&self) {
        let connection = &self.permit.connection;
        if !self.authorized.swap(true, Ordering::Relaxed) {
            connection.busy.fetch_add(1, Ordering::Relaxed);
        }
        connection.was_authorized.store(true, Ordering::Relaxed);
    }

    /// See [`PeerPermit::may_serve`].
    pub(crate) fn may_serve(&self) -> bool {
        self.permit.may_serve()
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        let connection = &self.permit.connection;
        let now = millis(connection.begun);
        connection.idle_since.store(now, Ordering::Relaxed);
        if *self.authorized.get_mut() {
            connection.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for PeerPermit {
    fn drop(&mut self) {
        self.limiter.lock().remove(&self.connection);
    }
}

impl Connections {
    /// True if there is an ordinary place for `peer` now.
    fn make_room(&mut self, capacity: Capacity, peer: Option<IpAddr>) -> bool {
        let of_peer = peer.and_then(|peer| self.per_peer.get(&peer).copied());
        if of_peer.is_some_and(|count| count >= capacity.per_peer) {
            let idlest =
                self.idlest(|connection| !connection.is_probe_only() && connection.peer == peer);
            return self.evict(idlest);
        }
        if self.ordinary < capacity.total {
            return true;
        }
        let idlest = self.idlest(|connection| !connection.is_probe_only());
        self.evict(idlest)
    }

    fn make_room_for_probe(&mut self, capacity: Capacity) -> bool {
        if self.by_id.len() - self.ordinary < capacity.probe_only {
            return true;
        }
        let idlest = self.idlest(ConnectionState::is_probe_only);
        self.evict(idlest)
    }

    /// The one that has been idle for longest; those that never carried an authorised request come first. Looking
    /// at each takes some microseconds, and is done only when places are short.
    fn idlest(&self, among: impl Fn(&ConnectionState) -> bool) -> Option<Arc<ConnectionState>> {
        let idle = self
            .by_id
            .values()
            .filter(|connection| among(connection) && connection.busy.load(Ordering::Relaxed) == 0);
        let order = |connection: &&Arc<ConnectionState>| {
            let was_authorized = connection.was_authorized.load(Ordering::Relaxed);
            (
                was_authorized,
                connection.idle_since.load(Ordering::Relaxed),
                connection.id,
            )
        };
        idle.min_by_key(order).cloned()
    }

    fn evict(&mut self, connection: Option<Arc<ConnectionState>>) -> bool {
        let Some(connection) = connection else {
            return false;
        };
        connection.evicted.cancel();
        self.remove(&connection);
        true
    }

    fn add(&mut self, connection: &Arc<ConnectionState>) {
        self.by_id.insert(connection.id, Arc::clone(connection));
        if connection.is_probe_only() {
            return;
        }
        self.ordinary += 1;
        if let Some(peer) = connection.peer {
            *self.per_peer.entry(peer).or_default() += 1;
        }
    }

    fn remove(&mut self, connection: &ConnectionState) {
        if self.by_id.remove(&connection.id).is_none() || connection.is_probe_only() {
            return;
        }
        self.ordinary -= 1;
        if let Some(peer) = connection.peer
            && let Some(count) = self.per_peer.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&peer);
            }
        }
    }
}

impl ConnectionState {
    fn is_probe_only(&self) -> bool {
        self.probe_only.load(Ordering::Relaxed)
    }
}

/// Whoever has one address of IPv6 has all of its /64.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CAPACITY: Capacity = Capacity {
        total: 4,
        per_peer: 3,
        probe_only: 1,
    };

    fn peer(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    fn limiter() -> Arc<PeerLimiter> {
        Arc::new(PeerLimiter::new(CAPACITY))
    }

    /// A connection from a peer that is not exempt.
    fn acquired(limiter: &Arc<PeerLimiter>, n: u8) -> Arc<PeerPermit> {
        Arc::new(limiter.acquire(peer(n), false).unwrap())
    }

    fn authorized(permit: &Arc<PeerPermit>) -> RequestPermit {
        let request = permit.request();
        request.authorized();
        request
    }

    fn is_evicted(permit: &PeerPermit) -> bool {
        permit.connection.evicted.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_idlest_that_was_never_authorized_makes_room() {
        let limiter = limiter();
        let mut all = Vec::new();
        for n in 1..=4 {
            all.push(acquired(&limiter, n));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // The first has had an authorised request and is idle, the second has one.
        drop(authorized(&all[0]));
        let _second = authorized(&all[1]);
        let fifth = acquired(&limiter, 5);
        let evicted: Vec<_> = all.iter().map(|permit| is_evicted(permit)).collect();
        assert_eq!(evicted, [false, false, true, false]);
        assert!(fifth.may_serve());
        let _fifth = authorized(&fifth);
        let sixth = acquired(&limiter, 6);
        assert!(is_evicted(&all[3]));
        let _sixth = authorized(&sixth);
        let _seventh = acquired(&limiter, 7);
        assert!(is_evicted(&all[0]), "idle, though once authorized");
        assert!(!is_evicted(&all[1]));
    }

    #[tokio::test]
    async fn a_connection_is_busy_until_the_last_of_its_requests_is_over() {
        let limiter = limiter();
        let permit = acquired(&limiter, 1);
        let (first, second, probe) = (authorized(&permit), authorized(&permit), permit.request());
        first.authorized();
        drop((first, probe));
        limiter.evict_idle();
        assert!(!is_evicted(&permit), "the second goes on");
        drop(second);
        limiter.evict_idle();
        assert!(is_evicted(&permit));
    }

    #[tokio::test]
    async fn a_peer_displaces_only_itself() {
        let limiter = limiter();
        let other = limiter.acquire(peer(2), false).unwrap();
        let own: Vec<_> = (0..6)
            .map(|_| limiter.acquire(peer(1), false).unwrap())
            .collect();
        assert!(!is_evicted(&other));
        assert_eq!(own.iter().filter(|permit| is_evicted(permit)).count(), 3);
        let named: Vec<_> = (0..2)
            .map(|_| limiter.acquire(peer(1), true).unwrap())
            .collect();
        assert!(
            named.iter().all(PeerPermit::may_serve),
            "a proxy is many clients"
        );
    }

    #[tokio::test]
    async fn where_all_are_busy_only_probes_are_answered() {
        let limiter = limiter();
        let busy: Vec<_> = (1..=4).map(|n| acquired(&limiter, n)).collect();
        let mut requests: Vec<_> = busy.iter().map(authorized).collect();
        let probe = acquired(&limiter, 9);
        assert!(!probe.may_serve());
        let next = acquired(&limiter, 9);
        assert!(is_evicted(&probe), "a place for probes is no place to stay");
        drop(requests.remove(0));
        assert!(next.may_serve(), "somebody is idle by now");
        assert!(is_evicted(&busy[0]));
        drop(requests);
        drop((busy, probe, next));
        let connections = limiter.lock();
        assert_eq!(
            (
                connections.by_id.len(),
                connections.ordinary,
                connections.per_peer.len()
            ),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let network = |text| network_of(address(text));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), address("10.0.0.1"));
    }
}
