//! Lookups of layers before they are written, each made once for all exports that want to know.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::Instant;

use crate::{
    actions::{Client, Error, Identity},
    cache::{
        known_blobs::KnownBlobs,
        layer_size, lookup,
        single_flight::{SharedFuture, SingleFlight},
    },
    digest::Digest,
};

/// How long BuildKit waits at most: it has four slots for the layers of all builds. What is not
/// known by then is written.
pub(super) const LOOKUP_TIME: Duration = Duration::from_secs(1);

/// The size of a layer's entry if there is one that is not known to be damaged.
pub(in crate::cache) type LookupResult = Result<Option<u64>, Error>;

/// The lookups of the process that are under way.
pub(in crate::cache) type Lookups = SingleFlight<(Identity, Digest), LookupResult>;

/// Looks layers up for one export.
#[derive(Clone)]
pub(in crate::cache) struct LayerLookup {
    client: Client,
    version: String,
    blobs: KnownBlobs,
    lookups: Arc<Lookups>,
}

impl LayerLookup {
    pub fn new(client: Client, version: String, blobs: KnownBlobs, lookups: Arc<Lookups>) -> Self {
        Self {
            client,
            version,
            blobs,
            lookups,
        }
    }

    /// Whether an entry of this size is there. If so, that is noted as a proof.
    pub(super) async fn has(&self, digest: Digest, size: u64) -> Result<bool, Error> {
        let found = self.entry_size(digest).await?;
        let found = found.is_some_and(|found| layer_size::matches(Some(size), found));
        if found {
            self.blobs.prove(digest);
        }
        Ok(found)
    }

    /// The lookup that is under way, or a new one.
    fn entry_size(&self, digest: Digest) -> SharedFuture<LookupResult> {
        let key = (self.client.identity().clone(), digest);
        let lookup = self.clone();
        self.lookups
            .join(key, || async move { lookup.look_up(digest).await }.boxed())
    }

    async fn look_up(&self, digest: Digest) -> LookupResult {
        let client = self.client.with_deadline(Instant::now() + LOOKUP_TIME);
        let Some(entry) = lookup::blob(&client, digest, &self.version).await? else {
            self.blobs.disprove(digest);
            return Ok(None);
        };
        if self.blobs.is_quarantined(digest, &entry.key) {
            return Ok(None);
        }
        Ok(Some(client.probe(&entry, 1).await?.total))
    }
}
