//! What is done when a confirmed layer turns out to be damaged.
//!
//! The build that found it cannot be saved. The next one may run on a gateway that knows nothing
//! of this one, so what it knows is written into the cache at once: the entry is deleted, or else
//! the index that this token may write is written again without it and names the damage. It does so
//! too where the layer is another scope's, say of the default branch in a pull request: all who read
//! that scope here read this index as well.

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{catalog::LayerCatalog, confirmations::Confirmations};
use crate::{
    actions::{self, Client},
    cache::{
        fetch_error::Repair,
        graph, index,
        index_format::{self, CacheConfig, IndexError},
        known_blobs::KnownBlobs,
        repair,
    },
    digest::Digest,
    lifecycle::{Tasks, run_blocking},
    protocol::key::IndexKey,
};

/// How long a repair may take: a few calls. The build waits for it, so that its one line of error
/// says what was done, and so that the machine is not gone before it is. An index can still be
/// written when [`repair::DELETE_TIME`] has passed.
const REPAIR_TIME: Duration = Duration::from_secs(10);

/// Takes damage out of the cache of one import.
pub(super) struct Repairer {
    pub client: Client,
    pub version: String,
    /// The index that may be written, if any: nobody but buildkitd can sign one.
    pub writable: Option<IndexKey>,
    pub catalog: Arc<LayerCatalog>,
    pub confirmations: Arc<Confirmations>,
    pub blobs: KnownBlobs,
    pub tasks: Tasks,
}

impl Repairer {
    /// Takes the damaged entry `key` out of the cache, as far as this token may. Once per process
    /// and layer; it ends by itself even if the build does not wait for it.
    pub async fn repair(self: &Arc<Self>, digest: Digest, key: &str) -> Repair {
        if !self.blobs.begin_repair(digest) {
            return Repair::Denied;
        }
        let (done, outcome) = oneshot::channel();
        let (repairer, key) = (Arc::clone(self), key.to_owned());
        self.tasks.spawn("repair", async move {
            let repair =
                tokio::time::timeout(REPAIR_TIME, repairer.delete_or_rewrite(digest, &key));
            let repair = repair.await.unwrap_or(Repair::Denied);
            tracing::warn!(%digest, key, ?repair, "a damaged layer was found in the cache");
            // The build may have left.
            let _ = done.send(repair);
        });
        outcome.await.unwrap_or(Repair::Denied)
    }

    async fn delete_or_rewrite(&self, digest: Digest, key: &str) -> Repair {
        if self.client.has_rest() {
            match repair::delete(&self.client, key, &self.version).await {
                Ok(()) => {
                    self.blobs.damaged_entry_deleted(digest);
                    self.confirmations.forget(digest);
                    return Repair::Deleted;
                }
                Err(error) => tracing::warn!(%error, key, "a damaged entry was not deleted"),
            }
        }
        let Some(writable) = &self.writable else {
            return Repair::Denied;
        };
        match self.rewrite(writable, digest, key).await {
            Ok(()) if self.catalog.names_elsewhere(digest, writable) => Repair::Named,
            Ok(()) => Repair::LeftOut,
            Err(error) => {
                tracing::warn!(%error, %digest, "no index was written without a damaged layer");
                Repair::Denied
            }
        }
    }

    /// Writes the index that may be written without the layer, and with the key of its damaged
    /// entry.
    async fn rewrite(
        &self,
        index: &IndexKey,
        digest: Digest,
        damaged: &str,
    ) -> Result<(), RepairError> {
        let client = self.client.with_deadline(Instant::now() + REPAIR_TIME);
        // The newest one: another build may have written since this import has loaded it.
        let newest = index::newest(&client, index, &self.version).await?;
        let newest = newest.map(index::Newest::into_index).transpose()?;
        let mut rest = match &newest {
            Some(newest) => {
                let raw = newest.raw.clone();
                run_blocking(move || without(&raw, digest)).await?
            }
            None => CacheConfig::default(),
        };
        rest.damaged.truncate(repair::MAX_NAMED - 1);
        rest.damaged.push(damaged.to_owned());
        let content = rest.to_json().into();
        let newest = newest.as_ref().map(|newest| newest.key.as_str());
        index::commit(&client, index, &self.version, newest, content).await?;
        Ok(())
    }
}

/// The index without the layer.
fn without(raw: &[u8], digest: Digest) -> Result<CacheConfig, UnusableIndex> {
    let config = index_format::parse(raw)?;
    let rest = graph::without(&config, &HashSet::from([digest]))?;
    // An index without layers says nothing.
    Ok(if rest.layers.is_empty() {
        CacheConfig {
            damaged: rest.damaged,
            ..CacheConfig::default()
        }
    } else {
        rest
    })
}

/// Why an index was not written.
#[derive(Debug, thiserror::Error)]
enum RepairError {
    #[error(transparent)]
    Remote(#[from] actions::Error),
    #[error(transparent)]
    Commit(#[from] index::CommitError),
    #[error("the newest index cannot be used: {0}")]
    Index(#[from] UnusableIndex),
}

/// Why the newest index cannot be rewritten.
#[derive(Debug, thiserror::Error)]
enum UnusableIndex {
    #[error(transparent)]
    Format(#[from] IndexError),
    /// The thread that reads it has failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
