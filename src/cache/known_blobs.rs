//! What this process knows of the blobs that one token sees, and how one piece of news changes all of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{listing::Listings, proof::Proofs, quarantine::Quarantine};
use crate::{actions::Identity, digest::Digest};

/// Proofs that blobs exist, listings of them, and entries that must not be used. All jobs of the process
/// share them; each sees those of its own token.
#[derive(Clone)]
pub(super) struct KnownBlobs {
    pub identity: Identity,
    pub proofs: Arc<Proofs>,
    pub listings: Arc<Listings>,
    pub quarantine: Arc<Quarantine>,
}

impl KnownBlobs {
    /// The blob is there: it was looked up, or its upload was confirmed.
    pub fn prove(&self, digest: Digest) {
        self.proofs.note(&self.identity, digest);
    }

    /// The blob was proven to exist at that time.
    pub fn prove_at(&self, digest: Digest, at: Instant) {
        self.proofs.note_at(&self.identity, digest, at);
    }

    /// Whether the blob was ever proven to exist, as far as that is remembered, and not found missing since.
    pub fn was_proven(&self, digest: Digest) -> bool {
        self.proofs.was_noted(&self.identity, digest)
    }

    /// Whether the blob was proven to exist not long ago.
    pub fn is_proven(&self, digest: Digest) -> bool {
        self.proofs.holds(&self.identity, digest)
    }

    /// The blob was looked for in vain, or cannot be used: nothing that was known before proves it.
    pub fn disprove(&self, digest: Digest) {
        self.proofs.revoke(&self.identity, digest);
        self.listings.forget(&self.identity, digest);
    }

    /// The entry `key` was read and is damaged.
    pub fn add_damaged(&self, digest: Digest, key: &str) {
        self.quarantine.add(&self.identity, digest, key);
    }

    /// The entry `key` could not be read.
    pub fn add_unreadable(&self, digest: Digest, key: &str) {
        self.quarantine.unreadable(&self.identity, digest, key);
    }

    /// Whether the entry `key` must not be relied on.
    pub fn is_quarantined(&self, digest: Digest, key: &str) -> bool {
        self.quarantine.holds(&self.identity, digest, key)
    }

    /// The key of the damaged entry of a blob that is to be replaced.
    pub fn damaged_key(&self, digest: Digest) -> Option<String> {
        self.quarantine.damaged_key(&self.identity, digest)
    }

    /// True for the first who asks after the blob was found damaged.
    pub fn begin_repair(&self, digest: Digest) -> bool {
        self.quarantine.begin_repair(&self.identity, digest)
    }

    /// The damaged entry of this blob has been replaced.
    pub fn damaged_entry_replaced(&self, digest: Digest) {
        self.quarantine.release(&self.identity, digest);
    }

    /// The damaged entry of this blob was deleted. What was listed before may still name it.
    pub fn damaged_entry_deleted(&self, digest: Digest) {
        self.quarantine.release(&self.identity, digest);
        self.listings.forget(&self.identity, digest);
    }
}
