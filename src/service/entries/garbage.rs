//! Uploads that nobody finishes, and contents that no entry needs.

use futures_util::{StreamExt as _, TryStreamExt as _, future::ready};
use jiff::Timestamp;

use super::Entries;
use crate::service::api_error::ApiError;

/// How many contents are asked after at once: as many as a page of a bucket's listing has.
const IDS_AT_ONCE: usize = 1000;

impl Entries {
    /// Gives up the reservations that nothing has happened to since `before`. Answers how many.
    pub(in crate::service) async fn expire_uploads(
        &self,
        before: Timestamp,
    ) -> Result<usize, ApiError> {
        let mut expired = 0;
        for upload in self.uploads.all() {
            if upload.abandon_if_idle(before) {
                self.discard(&upload).await?;
                expired += 1;
            }
        }
        Ok(expired)
    }

    /// Removes a content, unless another entry has it, too.
    pub(super) async fn remove_unneeded(&self, content: i64) -> Result<(), ApiError> {
        if self.store.needed(vec![content]).await?.is_empty() {
            self.blobs.remove(content).await?;
        }
        Ok(())
    }

    /// Removes contents that no entry needs. Answers how many.
    pub(in crate::service) async fn collect_blobs(&self) -> Result<usize, ApiError> {
        let mut removed = 0;
        // On a full disk, where that fails, there are others to remove.
        if let Err(error) = self.store.forget_released((self.clock)()).await {
            tracing::warn!(%error, "contents that nobody reads any more stay for now");
        }
        // In this order: an upload is forgotten only after its entry is there.
        let strange = self
            .blobs
            .ids()
            .try_filter(|id| ready(self.uploads.by_id(*id).is_none()));
        let mut strange = strange.try_chunks(IDS_AT_ONCE);
        while let Some(ids) = strange.next().await {
            let ids = ids.map_err(|failed| failed.1)?;
            let needed = self.store.needed(ids.clone()).await?;
            for id in ids {
                if !needed.contains(&id) {
                    self.blobs.remove(id).await?;
                    removed += 1;
                }
            }
        }
        self.store.keep_room().await?;
        Ok(removed)
    }
}
