//! Looks layers up, and at their first bytes.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    confirmations::Confirmations,
    located::LocatedLayer,
    unavailable::{EntryMismatch, Unavailable},
};
use crate::{
    actions::{Client, Entry, Probe},
    cache::{known_blobs::KnownBlobs, layer_size, lookup, spool::Spool},
    digest::Digest,
};

/// Finds out whether the entry of a layer can be used.
pub(super) struct LayerInspector {
    pub client: Client,
    pub version: String,
    /// Content up to this size is read whole.
    pub small_bytes: u64,
    pub blobs: KnownBlobs,
    pub confirmations: Arc<Confirmations>,
    pub spool: Spool,
}

impl LayerInspector {
    /// Locates a layer whose index may have its size, by `deadline`.
    pub async fn locate(
        &self,
        digest: Digest,
        indexed_size: Option<u64>,
        deadline: Instant,
    ) -> Result<LocatedLayer, Unavailable> {
        let client = self.client.with_deadline(deadline);
        let mut inspected = self.inspect(&client, digest, indexed_size).await?;
        if inspected.mismatch.is_some() {
            // A proxy may have answered with a page of its own: only what a URL of its own shows
            // again is in the cache.
            inspected = self.inspect(&client, digest, indexed_size).await?;
        }
        if let Some(reason) = inspected.mismatch {
            return Err(Unavailable::Damaged {
                key: inspected.entry.key,
                reason,
            });
        }
        let Probe { total, head } = inspected.probe;
        let is_whole = head.len() as u64 == total;
        let content = is_whole.then_some(head);
        let content = content.and_then(|all| self.confirmations.keep_small(all));
        if content.is_none() {
            self.spool.admits(total).await?;
        }
        Ok(LocatedLayer {
            digest,
            entry: inspected.entry,
            size: total,
            content: content.unwrap_or_default(),
        })
    }

    /// Looks a layer up, through a URL of its own, and at its first bytes.
    async fn inspect(
        &self,
        client: &Client,
        digest: Digest,
        indexed_size: Option<u64>,
    ) -> Result<Inspection, Unavailable> {
        let found = lookup::blob(client, digest, &self.version).await?;
        let entry = found.ok_or(Unavailable::Gone)?;
        if self.blobs.is_quarantined(digest, &entry.key) {
            return Err(Unavailable::Quarantined(entry.key));
        }
        let may_be_small = indexed_size.is_none_or(|size| size <= self.small_bytes);
        let head = if may_be_small { self.small_bytes } else { 1 };
        let probe = client.probe(&entry, head).await?;
        Ok(Inspection {
            mismatch: mismatch(digest, indexed_size, &probe),
            entry,
            probe,
        })
    }
}

/// What a look at an entry has shown.
struct Inspection {
    entry: Entry,
    probe: Probe,
    mismatch: Option<EntryMismatch>,
}

/// What the first bytes tell: the size, and of small content everything.
fn mismatch(digest: Digest, indexed_size: Option<u64>, probe: &Probe) -> Option<EntryMismatch> {
    let actual = probe.total;
    if let Some(indexed) = layer_size::mismatch(indexed_size, actual) {
        return Some(EntryMismatch::Size { actual, indexed });
    }
    let is_whole = probe.head.len() as u64 == actual;
    (is_whole && Digest::sha256(&probe.head) != digest).then_some(EntryMismatch::Content)
}
