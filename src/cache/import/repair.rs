//! What is done when a promised layer turns out to be damaged.
//!
//! The build that found it cannot be saved. The next one may run on a gateway that knows nothing
//! of this one, so what it knows is written into the cache at once: the entry is deleted, or else
//! the index that this token may write is written again without it and names the damage. It does so
//! too where the layer is another scope's, say of the default branch in a pull request: all who read
//! that scope here read this index as well.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{Core, Slot};
use crate::{
    actions::Error,
    cache::{
        blob::Repair,
        graph, index,
        index_format::{self, CacheConfig},
        repair,
        spool::blocking,
    },
    digest::Digest,
    protocol::key::IndexKey,
};

/// How long a repair may take: a few calls. The build waits for it, so that its one line of error
/// says what was done, and so that the machine is not gone before it is. An index can still be
/// written when [`heal::DELETE_TIME`] has passed.
const REPAIR_TIME: Duration = Duration::from_secs(10);

impl Core {
    /// Takes the damaged entry `key` out of the cache, as far as this token may. Once per process
    /// and layer; it ends by itself even if the build does not wait for it.
    pub(super) async fn repair(self: &Arc<Self>, digest: Digest, key: &str) -> Repair {
        let identity = self.client.identity();
        if !self.cache.quarantine.begin_repair(identity, digest) {
            return Repair::Denied;
        }
        let (done, repaired) = oneshot::channel();
        let (core, key) = (Arc::clone(self), key.to_owned());
        self.cache.tasks.spawn("repair", async move {
            let time = tokio::time::timeout(REPAIR_TIME, core.repaired(digest, &key));
            let repair = time.await.unwrap_or(Repair::Denied);
            tracing::warn!(%digest, key, ?repair, "a damaged layer was found in the cache");
            // The build may have left.
            let _ = done.send(repair);
        });
        repaired.await.unwrap_or(Repair::Denied)
    }

    async fn repaired(&self, digest: Digest, key: &str) -> Repair {
        if self.client.has_rest() {
            match repair::delete(&self.client, key, &self.version).await {
                Ok(()) => {
                    self.cache
                        .quarantine
                        .release(self.client.identity(), digest);
                    self.cache.listings.forget(self.client.identity(), digest);
                    self.promises.forget(digest);
                    return Repair::Deleted;
                }
                Err(error) => tracing::warn!(%error, key, "a damaged entry was not deleted"),
            }
        }
        match self.leave_out(digest, key).await {
            Ok(repair) => repair,
            Err(error) => {
                tracing::warn!(%error, %digest, "no index was written without a damaged layer");
                Repair::Denied
            }
        }
    }

    /// Writes the index that may be written without the layer, and with its damage.
    async fn leave_out(&self, digest: Digest, damaged: &str) -> Result<Repair, RepairError> {
        // Nobody but buildkitd can sign an index.
        let writable = self.writable.as_ref();
        let Some(writable) = writable.filter(|_| !self.cache.settings.signed) else {
            return Ok(Repair::Denied);
        };
        self.rewrite(writable, digest, damaged).await?;
        let names = |slot: &Slot| slot.get().is_some_and(|i| i.layers.contains_key(&digest));
        let elsewhere = self.slots.iter().any(|s| names(s) && s.key != *writable);
        Ok(if elsewhere {
            Repair::Named
        } else {
            Repair::LeftOut
        })
    }

    async fn rewrite(
        &self,
        key: &IndexKey,
        digest: Digest,
        damaged: &str,
    ) -> Result<(), RepairError> {
        let client = self.client.with_deadline(Instant::now() + REPAIR_TIME);
        // The newest one: another build may have written since this import has loaded it.
        let newest = index::newest(&client, key, &self.version).await?;
        let newest = newest.map(index::Newest::readable).transpose()?;
        let mut kept = match &newest {
            Some(newest) => {
                let raw = newest.raw.clone();
                let kept = blocking(move || Ok(without(&raw, digest))).await;
                kept.map_err(|e| RepairError::Index(e.to_string()))??
            }
            None => CacheConfig::default(),
        };
        kept.damaged.truncate(repair::MAX_NAMED - 1);
        kept.damaged.push(damaged.to_owned());
        let content = kept.to_json().into();
        let newest = newest.as_ref().map(|newest| newest.key.as_str());
        index::commit(&client, key, &self.version, newest, content).await?;
        Ok(())
    }
}

/// The index without the layer.
fn without(raw: &[u8], digest: Digest) -> Result<CacheConfig, RepairError> {
    let config = index_format::parse(raw).map_err(|e| RepairError::Index(e.to_string()))?;
    let kept = graph::without(&config, &HashSet::from([digest]));
    let kept = kept.map_err(|e| RepairError::Index(e.to_string()))?;
    // An index without layers says nothing.
    Ok(if kept.layers.is_empty() {
        CacheConfig {
            damaged: kept.damaged,
            ..CacheConfig::default()
        }
    } else {
        kept
    })
}

#[derive(Debug, thiserror::Error)]
enum RepairError {
    #[error(transparent)]
    Remote(#[from] Error),
    #[error(transparent)]
    Commit(#[from] index::CommitError),
    #[error("the newest index cannot be used: {0}")]
    Index(String),
}
