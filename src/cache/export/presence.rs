//! Whether a layer is there already, asked before BuildKit has sent a byte of it.
//!
//! A layer that BuildKit has imported and not pulled yet would be fetched only to be written. So
//! what is probably there is looked up while BuildKit waits for the answer. It asks for a few layers
//! at a time: once one of an index is found, the others are looked up ahead of its questions.

use std::sync::{Arc, OnceLock};

use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;

use super::{
    latest_index::LatestIndex,
    layer_lookup::{LOOKUP_TIME, LayerLookup},
    resources::ExportResources,
    scopes::reads_own_scope,
};
use crate::{
    actions::{Client, Error},
    cache::{known_blobs::KnownBlobs, layer_size, listing::Listing},
    digest::Digest,
    lifecycle::{TaskGuard, Tasks},
};

/// Most layers that are looked up ahead: a third of the lookups of a minute on github.com, so that
/// those of a build beside it do not wait.
const MAX_AHEAD: usize = 500;

/// Finds out which layers are in the cache.
pub(super) struct PresenceCheck {
    client: Client,
    version: String,
    tasks: Tasks,
    blobs: KnownBlobs,
    lookup: LayerLookup,
    parallel_lookups: usize,
    /// The newest index, as it was when the build began.
    latest: LatestIndex,
    /// What the REST API listed when BuildKit began to write, or a little before, where it can be
    /// asked. A build may take long before it writes: what was listed when it began is not taken for
    /// the present then.
    listing: OnceLock<Option<Arc<Listing>>>,
    /// Looks layers up before BuildKit asks for them.
    ahead: OnceLock<TaskGuard>,
}

impl PresenceCheck {
    pub fn new(resources: &ExportResources, latest: LatestIndex) -> Self {
        let check = Self {
            client: resources.client.clone(),
            version: resources.version.clone(),
            tasks: resources.tasks.clone(),
            blobs: resources.blobs.clone(),
            lookup: resources.layer_lookup(),
            parallel_lookups: resources.limits.parallel_lookups,
            latest,
            listing: OnceLock::new(),
            ahead: OnceLock::new(),
        };
        // A build that is short enough finds it made when it begins to write.
        drop(check.begin_listing());
        check
    }

    /// Whether the layer is in the cache for certain, whole and not known to be damaged.
    pub async fn has(&self, digest: Digest, size: Option<u64>) -> bool {
        if self.blobs.is_proven(digest) || self.is_listed(digest, size).await {
            return true;
        }
        let Some(size) = size.filter(|_| reads_own_scope(self.client.token())) else {
            return false;
        };
        let found = timeout(LOOKUP_TIME, self.is_found(digest, size)).await;
        found.unwrap_or(Ok(false)).unwrap_or_else(|error| {
            tracing::info!(%digest, %error, "a layer is written, since it could not be looked up");
            false
        })
    }

    /// Whether the listing has the layer, which is a proof.
    async fn is_listed(&self, digest: Digest, size: Option<u64>) -> bool {
        let Some(listing) = self.listing.get_or_init(|| self.begin_listing()) else {
            return false;
        };
        let blobs = &self.blobs;
        let row = listing
            .row(&blobs.listings, &blobs.quarantine, digest)
            .await;
        let listed = row.is_some_and(|row| layer_size::matches(size, row.size));
        if listed {
            blobs.prove_at(digest, listing.asked_at());
        }
        listed
    }

    /// Looks the layer up, if it was ever seen or an index names it.
    async fn is_found(&self, digest: Digest, size: u64) -> Result<bool, Error> {
        let named = self.latest.names(digest).await;
        if !named && !self.blobs.was_proven(digest) {
            return Ok(false);
        }
        let found = self.lookup.has(digest, size).await?;
        if named && found {
            self.ahead.get_or_init(|| self.look_up_ahead());
        }
        Ok(found)
    }

    /// Looks up what else the indexes name.
    fn look_up_ahead(&self) -> TaskGuard {
        let (lookup, latest) = (self.lookup.clone(), self.latest.clone());
        let blobs = self.blobs.clone();
        let parallel = self.parallel_lookups;
        self.tasks
            .spawn_guarded("look up layers ahead", async move {
                let mut layers = latest.layers().await;
                layers.retain(|(digest, _)| !blobs.is_proven(*digest));
                layers.truncate(MAX_AHEAD);
                let (lookup, blobs) = (&lookup, &blobs);
                let lookups = stream::iter(layers);
                let lookups = lookups.for_each_concurrent(parallel, |(digest, size)| async move {
                    // BuildKit may have asked meanwhile. What fails is asked for in its turn.
                    if !blobs.is_proven(digest) {
                        let _ = lookup.has(digest, size).await;
                    }
                });
                lookups.await;
            })
    }

    fn begin_listing(&self) -> Option<Arc<Listing>> {
        let listings = &self.blobs.listings;
        listings.newest_or_begin(&self.client, &self.version, &self.tasks)
    }
}
