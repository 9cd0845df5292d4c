//! What this process knows to exist in a cache, and since when.
//!
//! A blob exists only by proof: a finished upload that was confirmed, a lookup that hit, a row of
//! a listing. An index that names it proves nothing, since blobs are evicted one by one.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{actions::Identity, digest::Digest};

/// Proofs kept at once. One is about 200 bytes; those that no longer count make room.
const MAX_PROOFS: usize = 50_000;

type Key = (Identity, Digest);

/// The proofs of the process.
#[derive(Debug)]
pub(super) struct Proofs {
    age: Duration,
    proven_at: Mutex<HashMap<Key, Instant>>,
}

impl Proofs {
    /// Proofs that count for `age`.
    pub fn new(age: Duration) -> Self {
        Self {
            age,
            proven_at: Mutex::default(),
        }
    }

    /// The blob was proven to exist just now.
    pub fn note(&self, identity: &Identity, digest: Digest) {
        self.note_at(identity, digest, Instant::now());
    }

    /// The blob was proven to exist at that time. A newer proof is kept.
    pub fn note_at(&self, identity: &Identity, digest: Digest, at: Instant) {
        let mut proven_at = self.proven_at.lock();
        if proven_at.len() >= MAX_PROOFS {
            proven_at.retain(|_, at| at.elapsed() <= self.age);
        }
        if proven_at.len() < MAX_PROOFS {
            let newest = proven_at.entry((identity.clone(), digest)).or_insert(at);
            *newest = at.max(*newest);
        }
    }

    /// The blob was looked for and is not there, or is damaged.
    pub fn revoke(&self, identity: &Identity, digest: Digest) {
        self.proven_at.lock().remove(&(identity.clone(), digest));
    }

    /// Whether the blob was proven to exist not long ago.
    pub fn holds(&self, identity: &Identity, digest: Digest) -> bool {
        self.proven_at
            .lock()
            .get(&(identity.clone(), digest))
            .is_some_and(|at| at.elapsed() <= self.age)
    }

    /// Whether the blob was ever proven to exist, as far as that is remembered, and not found
    /// missing since.
    pub fn was_noted(&self, identity: &Identity, digest: Digest) -> bool {
        self.proven_at
            .lock()
            .contains_key(&(identity.clone(), digest))
    }
}

/// Abandoned reservations that are remembered at once; a cancelled export leaves a few.
const MAX_ABANDONED: usize = 10_000;

/// Keys that this process has reserved and will not fill: nobody else can, so nobody needs to
/// wait for them.
#[derive(Debug, Default)]
pub(super) struct Abandoned(Mutex<HashSet<(Identity, String)>>);

impl Abandoned {
    /// The reservation of `key` will not be filled.
    pub fn note(&self, identity: &Identity, key: &str) {
        let mut keys = self.0.lock();
        if keys.len() < MAX_ABANDONED {
            keys.insert((identity.clone(), key.to_owned()));
        }
    }

    /// Whether the reservation of `key` was ours and is dead.
    pub fn holds(&self, identity: &Identity, key: &str) -> bool {
        self.0.lock().contains(&(identity.clone(), key.to_owned()))
    }

    /// As [`Abandoned::holds`], and the key is forgotten: should the service give it to somebody
    /// else one day, that reservation is none of ours.
    pub fn take(&self, identity: &Identity, key: &str) -> bool {
        self.0.lock().remove(&(identity.clone(), key.to_owned()))
    }
}

/// Layers that are remembered as delivered at once, 32 bytes each.
const MAX_DELIVERED: usize = 100_000;

/// Layers that buildkitd has had from this process, or has written to it: it will hardly ask for
/// them. Being wrong costs a little speed, or a fetch in vain.
#[derive(Debug, Default)]
pub(super) struct Delivered(Mutex<HashSet<Digest>>);

impl Delivered {
    /// buildkitd has this layer now.
    pub fn note(&self, digest: Digest) {
        let mut layers = self.0.lock();
        if layers.len() < MAX_DELIVERED {
            layers.insert(digest);
        }
    }

    /// Whether buildkitd has, or had, this layer.
    pub fn holds(&self, digest: Digest) -> bool {
        self.0.lock().contains(&digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_proof_counts_for_its_age_its_identity_and_until_a_miss() {
        let proofs = Proofs::new(Duration::from_mins(10));
        let (one, other) = (Identity("one".into()), Identity("other".into()));
        let digest = Digest::sha256("layer");
        proofs.note(&one, digest);
        assert!(proofs.holds(&one, digest) && !proofs.holds(&other, digest));

        tokio::time::advance(Duration::from_mins(10)).await;
        assert!(proofs.holds(&one, digest));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!proofs.holds(&one, digest) && proofs.was_noted(&one, digest));

        let minute = Duration::from_mins(1);
        proofs.note_at(&one, digest, Instant::now() - 10 * minute);
        assert!(proofs.holds(&one, digest), "as old as it may be");
        tokio::time::advance(minute).await;
        assert!(!proofs.holds(&one, digest), "it has the age of its request");
        proofs.note(&one, digest);
        proofs.note_at(&one, digest, Instant::now() - 10 * minute);
        tokio::time::advance(minute).await;
        assert!(proofs.holds(&one, digest), "the newest proof counts");

        proofs.note(&one, digest);
        proofs.revoke(&one, digest);
        assert!(!proofs.holds(&one, digest) && !proofs.was_noted(&one, digest));
    }
}
