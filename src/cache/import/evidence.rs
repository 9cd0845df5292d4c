//! What this process knows of the entries of one import's cache, and what the import finds out.

use std::sync::Arc;

use crate::{
    actions::Identity,
    cache::{listing::Listings, proof::Proofs, quarantine::Quarantine},
    digest::Digest,
};

/// What is known of the blobs that one token sees. All jobs of the process share it.
pub(super) struct Evidence {
    pub identity: Identity,
    pub proofs: Arc<Proofs>,
    pub listings: Arc<Listings>,
    pub quarantine: Arc<Quarantine>,
}

impl Evidence {
    /// The blob is there: it was looked up and read.
    pub fn prove(&self, digest: Digest) {
        self.proofs.note(&self.identity, digest);
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

    /// True for the first who asks after the blob was found damaged.
    pub fn begin_repair(&self, digest: Digest) -> bool {
        self.quarantine.begin_repair(&self.identity, digest)
    }

    /// The damaged entry was deleted. What was listed before may still name it.
    pub fn entry_deleted(&self, digest: Digest) {
        self.quarantine.release(&self.identity, digest);
        self.listings.forget(&self.identity, digest);
    }
}
