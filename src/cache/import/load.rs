//! Loads the index of every scope, all at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{Core, Document, Index, Recorded, Signature, Slot};
use crate::{
    actions::{self, Client},
    cache::{
        index,
        index_format::{self, CacheConfig, IndexError, Layer},
        repair,
        spool::blocking,
        unreachable,
    },
    digest::Digest,
    protocol::key,
};

/// Largest signature bundle that is read; real ones are some 10 KiB.
const MAX_SIGNATURE_BYTES: u64 = 1 << 20;

impl Core {
    /// Fills every slot. What cannot be loaded, or is no valid index, is a miss and a warning.
    pub(super) async fn load(&self) {
        let client = self.client.with_deadline(Instant::now() + self.timeout);
        join_all(self.slots.iter().map(|slot| async {
            let index = self.load_slot(&client, slot).await;
            // Each slot is loaded once, by the one task that loads.
            drop(slot.index.set(index));
        }))
        .await;
    }

    async fn load_slot(&self, client: &Client, slot: &Slot) -> Option<Index> {
        match self.load_index(client, slot).await {
            Ok(index) => index,
            Err(error) => {
                if let LoadError::Remote(error) = &error
                    && let Some(warning) = unreachable::warning(error)
                {
                    self.reporter.report(warning);
                    return None;
                }
                let short = format!("cache import: no use of the index {}", slot.key.base());
                self.warn(&short, error.to_string());
                None
            }
        }
    }

    async fn load_index(&self, client: &Client, slot: &Slot) -> Result<Option<Index>, LoadError> {
        let Some(newest) = index::newest(client, &slot.key, &self.version).await? else {
            return Ok(None);
        };
        let mut stored = newest.readable()?;
        let raw = stored.raw.clone();
        let config = blocking(move || Ok(readable(&raw))).await;
        let invalid = |reason: String| LoadError::Invalid {
            key: stored.key.clone(),
            reason,
        };
        let config = config
            .map_err(|e| invalid(e.to_string()))?
            .map_err(|e| invalid(e.to_string()))?;
        let layers =
            layers(&config).map_err(|layer| invalid(format!("the layer {layer} has no diffID")))?;
        repair::quarantine_named(&self.cache.quarantine, self.client.identity(), &config);
        let signature = if self.cache.settings.signed {
            self.load_signature(client, &stored.raw).await?
        } else {
            // buildkitd gets what was checked, and not a text that it may read in another way.
            stored.raw = config.to_json().into();
            None
        };
        Ok(Some(Index {
            layers,
            document: Mutex::new(Some(Arc::new(Document { stored, config }))),
            signature,
        }))
    }

    /// Signatures are stored beside blobs, under the digest of what they sign.
    async fn load_signature(
        &self,
        client: &Client,
        raw: &[u8],
    ) -> Result<Option<Signature>, LoadError> {
        let key = format!("{}-sig", key::blob(&Digest::of(raw)));
        match client.lookup(&key, &self.version).await? {
            Some(entry) if entry.key == key => {
                let raw = client.read_all(&entry, MAX_SIGNATURE_BYTES).await?;
                Ok(Some(Signature { key, raw }))
            }
            _ => Ok(None),
        }
    }
}

/// What a build can use of an index, if buildkitd can afford to read it.
fn readable(raw: &[u8]) -> Result<CacheConfig, IndexError> {
    let config = index_format::parse(raw)?.usable();
    config.check_cost()?;
    Ok(config)
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Remote(#[from] actions::Error),
    #[error("{key} is not a valid cache index: {reason}")]
    Invalid { key: String, reason: String },
}

/// The layers of an index, or the one that BuildKit refuses the whole index for.
fn layers(config: &CacheConfig) -> Result<HashMap<Digest, Recorded>, Digest> {
    let recorded = |layer: &Layer| {
        let annotations = layer.annotations.as_ref()?;
        Some(Recorded {
            size: u64::try_from(annotations.size)
                .ok()
                .filter(|size| *size > 0),
            diff_id: annotations.diff_id?,
        })
    };
    let layers = config.layers.iter();
    layers
        .map(|layer| Ok((layer.blob, recorded(layer).ok_or(layer.blob)?)))
        .collect()
}
