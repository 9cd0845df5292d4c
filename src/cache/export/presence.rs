//! Whether a layer is there already, asked before BuildKit has sent a byte of it.
//!
//! A layer that BuildKit has imported and not pulled yet would be fetched only to be written. So
//! what is probably there is looked up while BuildKit waits for the answer. It asks for a few layers
//! at a time: once one of an index is found, the others are looked up ahead of its questions.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::time::{Instant, timeout};

use super::{Core, ExportContext};
use crate::{
    actions::Error,
    cache::{lookup, single_flight::SharedFuture},
    digest::Digest,
    lifecycle::TaskGuard,
};

/// How long BuildKit waits at most: it has four slots for the layers of all builds. What is not
/// known by then is written.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// Most layers that are looked up ahead: a third of the lookups of a minute on github.com, so that
/// those of a build beside it do not wait.
const MAX_AHEAD: usize = 500;

/// The size of a layer's entry if there is one that is not known to be damaged.
pub(in crate::cache) type Looked = Result<Option<u64>, Error>;

impl Core {
    /// Whether the layer is in the cache for certain, whole and not known to be damaged.
    pub(super) async fn has(&self, digest: Digest, size: Option<u64>) -> bool {
        let lane = &self.lane;
        let identity = lane.client.identity();
        if lane.cache.proofs.holds(identity, digest) || self.lists(digest, size).await {
            return true;
        }
        let Some(size) = size.filter(|_| !lane.cannot_read_own_scope()) else {
            return false;
        };
        let found = timeout(LOOK_TIME, self.finds(digest, size)).await;
        found.unwrap_or(Ok(false)).unwrap_or_else(|error| {
            tracing::info!(%digest, %error, "a layer is written, since it could not be looked up");
            false
        })
    }

    /// Looks the layer up, if it was ever seen or an index names it.
    async fn finds(&self, digest: Digest, size: u64) -> Result<bool, Error> {
        let lane = &self.lane;
        let named = self.known.names(digest).await;
        if !named && !lane.cache.proofs.was_noted(lane.client.identity(), digest) {
            return Ok(false);
        }
        let found = lane.finds(digest, size).await?;
        if named && found {
            self.ahead.get_or_init(|| self.look_ahead());
        }
        Ok(found)
    }

    /// Looks up what else the indexes name.
    fn look_ahead(&self) -> TaskGuard {
        let (lane, known) = (self.lane.clone(), self.known.clone());
        let tasks = lane.cache.tasks.clone();
        tasks.spawn_guarded("look up layers ahead", async move {
            let identity = lane.client.identity();
            let mut layers = known.layers().await;
            layers.retain(|(digest, _)| !lane.cache.proofs.holds(identity, *digest));
            layers.truncate(MAX_AHEAD);
            let parallel = lane.cache.settings.parallel_lookups;
            let looks = stream::iter(layers).for_each_concurrent(parallel, |(digest, size)| {
                let lane = &lane;
                async move {
                    // BuildKit may have asked meanwhile. What fails is asked for in its turn.
                    if !lane.cache.proofs.holds(identity, digest) {
                        let _ = lane.finds(digest, size).await;
                    }
                }
            });
            looks.await;
        })
    }
}

impl ExportContext {
    /// Looks a layer up; an entry of this size is a proof.
    async fn finds(&self, digest: Digest, size: u64) -> Result<bool, Error> {
        let found = self.looked(digest).await? == Some(size);
        if found {
            self.cache.proofs.note(self.client.identity(), digest);
        }
        Ok(found)
    }

    /// The lookup of a layer, one for all who want to know at the same time.
    fn looked(&self, digest: Digest) -> SharedFuture<Looked> {
        let key = (self.client.identity().clone(), digest);
        let lane = self.clone();
        self.cache
            .lookups
            .join(key, || async move { lane.look(digest).await }.boxed())
    }

    async fn look(&self, digest: Digest) -> Looked {
        let identity = self.client.identity();
        let client = self.client.with_deadline(Instant::now() + LOOK_TIME);
        let Some(entry) = lookup::blob(&client, digest, &self.version).await? else {
            self.cache.disprove(identity, digest);
            return Ok(None);
        };
        if self.cache.quarantine.holds(identity, digest, &entry.key) {
            return Ok(None);
        }
        Ok(Some(client.probe(&entry, 1).await?.total))
    }
}
