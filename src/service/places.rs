//! Places for connections, and who has to give one up.
//!
//! A connection that nobody has vouched for, by a token or a signed URL, has its place only as long
//! as there are others: when all are taken, the one that has been idle for longest makes room. One that
//! never carried an authorised request goes before one that is merely idle. Beside the places stand a
//! few spare ones, on which the head of a request is read: a probe is answered there whatever else goes
//! on, and any other request is turned away.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// In all.
    pub all: usize,
    /// For one peer.
    pub per_peer: usize,
    /// Spare ones.
    pub spare: usize,
}

/// All places.
#[derive(Debug)]
pub struct Places {
    capacity: Capacity,
    begun: Instant,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Arc<Seat>>,
    per_peer: HashMap<IpAddr, usize>,
    ordinary: usize,
}

/// The place of one connection.
#[derive(Debug)]
pub struct Seat {
    id: u64,
    /// Who counts for the limit of a peer; nothing for a proxy of ours.
    peer: Option<IpAddr>,
    /// Milliseconds after the places' beginning at which it was idle last.
    idle_since: AtomicU64,
    /// An authorised request is under way.
    busy: AtomicBool,
    /// It has carried an authorised request.
    trusted: AtomicBool,
    spare: AtomicBool,
    evicted: CancellationToken,
    begun: Instant,
}

/// A place that is given back when it is dropped.
#[derive(Debug)]
pub struct Placed {
    places: Arc<Places>,
    /// The place.
    pub seat: Arc<Seat>,
}

impl Places {
    /// Places that are all free.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            begun: Instant::now(),
            taken: Mutex::default(),
        }
    }

    /// A place for a connection from `peer`, which counts for the limit of its peer unless it is
    /// `exempt`. Nothing when even the spare ones are busy.
    pub fn take(self: &Arc<Self>, peer: IpAddr, exempt: bool) -> Option<Placed> {
        let peer = (!exempt).then(|| network_of(peer));
        let mut taken = self.lock();
        let ordinary = taken.make_room(self.capacity, peer);
        if !ordinary && !taken.make_spare_room(self.capacity) {
            return None;
        }
        taken.next += 1;
        let seat = Arc::new(Seat {
            id: taken.next,
            peer,
            idle_since: AtomicU64::new(millis(self.begun)),
            busy: AtomicBool::new(false),
            trusted: AtomicBool::new(false),
            spare: AtomicBool::new(!ordinary),
            evicted: CancellationToken::new(),
            begun: self.begun,
        });
        taken.add(&seat);
        Some(Placed {
            places: Arc::clone(self),
            seat,
        })
    }

    /// Frees the place of whoever has been idle for longest, if anybody is: the system has no more
    /// files for connections.
    pub fn shed(&self) {
        let mut taken = self.lock();
        let idlest = taken.idlest(|_| true);
        taken.evict(idlest);
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while it holds the lock.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Placed {
    /// True if a request other than a probe may be answered here: where it could not be when the
    /// connection came, a place may be free by now.
    pub fn admit(&self) -> bool {
        if !self.seat.spare.load(Ordering::Relaxed) {
            return true;
        }
        let mut taken = self.places.lock();
        if !taken.seats.contains_key(&self.seat.id)
            || !taken.make_room(self.places.capacity, self.seat.peer)
        {
            return false;
        }
        taken.remove(&self.seat);
        self.seat.spare.store(false, Ordering::Relaxed);
        taken.add(&self.seat);
        true
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.places.lock().remove(&self.seat);
    }
}

impl Seat {
    /// An authorised request has begun: the place is safe until [`Self::rest`].
    pub fn trust(&self) {
        self.busy.store(true, Ordering::Relaxed);
        self.trusted.store(true, Ordering::Relaxed);
    }

    /// The request is over.
    pub fn rest(&self) {
        self.idle_since.store(millis(self.begun), Ordering::Relaxed);
        self.busy.store(false, Ordering::Relaxed);
    }

    /// Returns when the place was given to somebody else.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Taken {
    /// True if there is an ordinary place for `peer` now.
    fn make_room(&mut self, capacity: Capacity, peer: Option<IpAddr>) -> bool {
        let of_peer = peer.and_then(|peer| self.per_peer.get(&peer).copied());
        if of_peer.is_some_and(|count| count >= capacity.per_peer) {
            let idlest = self.idlest(|seat| !seat.is_spare() && seat.peer == peer);
            return self.evict(idlest);
        }
        if self.ordinary < capacity.all {
            return true;
        }
        let idlest = self.idlest(|seat| !seat.is_spare());
        self.evict(idlest)
    }

    fn make_spare_room(&mut self, capacity: Capacity) -> bool {
        if self.seats.len() - self.ordinary < capacity.spare {
            return true;
        }
        let idlest = self.idlest(Seat::is_spare);
        self.evict(idlest)
    }

    /// The one that has been idle for longest; those that nobody has vouched for come first. Looking
    /// at each takes some microseconds, and is done only when places are short.
    fn idlest(&self, among: impl Fn(&Seat) -> bool) -> Option<Arc<Seat>> {
        let idle = self
            .seats
            .values()
            .filter(|seat| among(seat) && !seat.busy.load(Ordering::Relaxed));
        let order = |seat: &&Arc<Seat>| {
            let trusted = seat.trusted.load(Ordering::Relaxed);
            (trusted, seat.idle_since.load(Ordering::Relaxed), seat.id)
        };
        idle.min_by_key(order).cloned()
    }

    fn evict(&mut self, seat: Option<Arc<Seat>>) -> bool {
        let Some(seat) = seat else {
            return false;
        };
        seat.evicted.cancel();
        self.remove(&seat);
        true
    }

    fn add(&mut self, seat: &Arc<Seat>) {
        self.seats.insert(seat.id, Arc::clone(seat));
        if seat.is_spare() {
            return;
        }
        self.ordinary += 1;
        if let Some(peer) = seat.peer {
            *self.per_peer.entry(peer).or_default() += 1;
        }
    }

    fn remove(&mut self, seat: &Seat) {
        if self.seats.remove(&seat.id).is_none() || seat.is_spare() {
            return;
        }
        self.ordinary -= 1;
        if let Some(peer) = seat.peer
            && let Some(count) = self.per_peer.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&peer);
            }
        }
    }
}

impl Seat {
    fn is_spare(&self) -> bool {
        self.spare.load(Ordering::Relaxed)
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
        all: 4,
        per_peer: 3,
        spare: 1,
    };

    fn peer(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    fn places() -> Arc<Places> {
        Arc::new(Places::new(CAPACITY))
    }

    fn is_evicted(placed: &Placed) -> bool {
        placed.seat.evicted.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_idlest_that_nobody_vouched_for_makes_room() {
        let places = places();
        let mut all = Vec::new();
        for n in 1..=4 {
            all.push(places.take(peer(n), false).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // The first has done honest work and rests, the second is at it.
        all[0].seat.trust();
        all[0].seat.rest();
        all[1].seat.trust();
        let fifth = places.take(peer(5), false).unwrap();
        assert_eq!(
            all.iter().map(is_evicted).collect::<Vec<_>>(),
            [false, false, true, false]
        );
        assert!(fifth.admit());
        fifth.seat.trust();
        let sixth = places.take(peer(6), false).unwrap();
        assert!(is_evicted(&all[3]));
        sixth.seat.trust();
        let _seventh = places.take(peer(7), false).unwrap();
        assert!(is_evicted(&all[0]), "idle, though trusted");
        assert!(!is_evicted(&all[1]));
    }

    #[tokio::test]
    async fn a_peer_displaces_only_itself() {
        let places = places();
        let other = places.take(peer(2), false).unwrap();
        let own: Vec<_> = (0..6)
            .map(|_| places.take(peer(1), false).unwrap())
            .collect();
        assert!(!is_evicted(&other));
        assert_eq!(own.iter().filter(|placed| is_evicted(placed)).count(), 3);
        let named: Vec<_> = (0..2)
            .map(|_| places.take(peer(1), true).unwrap())
            .collect();
        assert!(named.iter().all(Placed::admit), "a proxy is many clients");
    }

    #[tokio::test]
    async fn where_all_are_busy_only_probes_are_answered() {
        let places = places();
        let busy: Vec<_> = (1..=4)
            .map(|n| places.take(peer(n), false).unwrap())
            .collect();
        for placed in &busy {
            placed.seat.trust();
        }
        let probe = places.take(peer(9), false).unwrap();
        assert!(!probe.admit());
        let next = places.take(peer(9), false).unwrap();
        assert!(is_evicted(&probe), "the spare places are no place to stay");
        busy[0].seat.rest();
        assert!(next.admit(), "somebody is idle by now");
        assert!(is_evicted(&busy[0]));
        drop((busy, probe, next));
        let taken = places.lock();
        assert_eq!(
            (taken.seats.len(), taken.ordinary, taken.per_peer.len()),
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
