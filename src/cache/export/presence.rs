//! Whether a layer is there already, asked before BuildKit has sent a byte of it.
//!
//! A layer that BuildKit has imported and not pulled yet would be fetched only to be written. So
//! what is probably there is looked up while BuildKit waits for the answer.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Core;
use crate::{actions, cache::lookup, digest::Digest};

/// How long BuildKit waits at most: it has four slots for the layers of all builds. What is not
/// known by then is written.
const LOOK_TIME: Duration = Duration::from_secs(1);

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
        let deadline = Instant::now() + LOOK_TIME;
        let found = timeout_at(deadline, self.finds(digest, size, deadline)).await;
        let found = found.unwrap_or(Ok(false)).unwrap_or_else(|error| {
            tracing::info!(%digest, %error, "a layer is written, since it could not be looked up");
            false
        });
        if found {
            lane.cache.proofs.note(identity, digest);
        }
        found
    }

    /// Looks the layer up, if it was ever seen or an index names it.
    async fn finds(
        &self,
        digest: Digest,
        size: u64,
        deadline: Instant,
    ) -> Result<bool, actions::Error> {
        let lane = &self.lane;
        let identity = lane.client.identity();
        let expected =
            lane.cache.proofs.was_noted(identity, digest) || self.known.names(digest).await;
        if !expected {
            return Ok(false);
        }
        let client = lane.client.with_deadline(deadline);
        let Some(entry) = lookup::blob(&client, digest, &lane.version).await? else {
            lane.cache.disprove(identity, digest);
            return Ok(false);
        };
        if lane.cache.damage.denies(identity, digest, &entry.key) {
            return Ok(false);
        }
        Ok(client.probe(&entry, 1).await?.total == size)
    }
}
