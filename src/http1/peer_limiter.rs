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
        atomic::{AtomicBool, AtomicU64, Ordering},
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
    /// An authorised request is under way.
    busy: AtomicBool,
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
            busy: AtomicBool::new(false),
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
    pub(crate) fn may_serve(&self) -> bool {
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

    /// An authorised request has begun: the place is safe until [`Self::idle`].
    pub(crate) fn authorized(&self) {
        self.connection.busy.store(true, Ordering::Relaxed);
        self.connection
            .was_authorized
            .store(true, Ordering::Relaxed);
    }

    /// The request is over.
    pub(crate) fn idle(&self) {
        let now = millis(self.connection.begun);
        self.connection.idle_since.store(now, Ordering::Relaxed);
        self.connection.busy.store(false, Ordering::Relaxed);
    }

    /// Returns when the place was given to somebody else.
    pub(crate) async fn evicted(&self) {
        self.connection.evicted.cancelled().await;
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
            .filter(|connection| among(connection) && !connection.busy.load(Ordering::Relaxed));
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

    fn is_evicted(permit: &PeerPermit) -> bool {
        permit.connection.evicted.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_idlest_that_was_never_authorized_makes_room() {
        let limiter = limiter();
        let mut all = Vec::new();
        for n in 1..=4 {
            all.push(limiter.acquire(peer(n), false).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // The first has had an authorised request and is idle, the second has one.
        all[0].authorized();
        all[0].idle();
        all[1].authorized();
        let fifth = limiter.acquire(peer(5), false).unwrap();
        assert_eq!(
            all.iter().map(is_evicted).collect::<Vec<_>>(),
            [false, false, true, false]
        );
        assert!(fifth.may_serve());
        fifth.authorized();
        let sixth = limiter.acquire(peer(6), false).unwrap();
        assert!(is_evicted(&all[3]));
        sixth.authorized();
        let _seventh = limiter.acquire(peer(7), false).unwrap();
        assert!(is_evicted(&all[0]), "idle, though once authorized");
        assert!(!is_evicted(&all[1]));
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
        let busy: Vec<_> = (1..=4)
            .map(|n| limiter.acquire(peer(n), false).unwrap())
            .collect();
        for permit in &busy {
            permit.authorized();
        }
        let probe = limiter.acquire(peer(9), false).unwrap();
        assert!(!probe.may_serve());
        let next = limiter.acquire(peer(9), false).unwrap();
        assert!(is_evicted(&probe), "a place for probes is no place to stay");
        busy[0].idle();
        assert!(next.may_serve(), "somebody is idle by now");
        assert!(is_evicted(&busy[0]));
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
