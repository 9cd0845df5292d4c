//! What this process knows of the blobs in a cache, and how one piece of news changes all of it.

use std::sync::Arc;

use super::{listing::Listings, proof::Proofs, quarantine::Quarantine};
use crate::{actions::Identity, digest::Digest};

/// Proofs that blobs exist, listings of them, and entries that must not be used.
#[derive(Clone)]
pub(super) struct KnownBlobs {
    pub proofs: Arc<Proofs>,
    pub listings: Arc<Listings>,
    pub quarantine: Arc<Quarantine>,
}

impl KnownBlobs {
    /// The blob was looked for in vain, or cannot be used: nothing that was known before proves it.
    pub fn disprove(&self, identity: &Identity, digest: Digest) {
        self.proofs.revoke(identity, digest);
        self.listings.forget(identity, digest);
    }

    /// The damaged entry of this blob has been deleted.
    pub fn damaged_entry_deleted(&self, identity: &Identity, digest: Digest) {
        self.quarantine.release(identity, digest);
        self.listings.forget(identity, digest);
    }
}
