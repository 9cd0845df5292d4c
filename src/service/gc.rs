//! Collects what was abandoned: reservations that nobody finishes and contents that no entry needs; evicts entries that
//! nobody needs; drops those whose content is not all there; and forgets tokens that ended long ago.
//!
//! Of several replicas one goes through all contents and entries for all of them.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    api_error::ApiError, config::COLLECT_INTERVAL, instance::Service, periodic::repeat_until,
};

impl Service {
    /// Collects once.
    pub async fn collect(&self) -> Result<(), ApiError> {
        let now = self.now();
        let before = now
            .checked_sub(self.config().reservation_age)
            .unwrap_or(Timestamp::MIN);
        let metrics = self.metrics().clone();
        let (uploads, files) = self
            .run(async move |entries| {
                entries.note_accesses().await;
                entries.write_activity().await;
                let for_all = entries.is_collector().await?;
                if for_all {
                    entries.drop_all_damaged().await?;
                }
                let uploads = entries.expire_uploads(before).await?;
                entries.evict(&metrics).await?;
                let files = if for_all {
                    entries.collect_blobs().await?
                } else {
                    0
                };
                Ok((uploads, files))
            })
            .await?;
        self.revocations().forget_expired().await?;
        self.audit().tell_left_out().await;
        if uploads + files > 0 {
            tracing::info!(
                uploads,
                files,
                "collected abandoned uploads and stray files"
            );
        }
        Ok(())
    }

    /// Collects again and again until `shutdown`; one that has begun is finished.
    pub(super) async fn collect_until(&self, shutdown: CancellationToken) {
        repeat_until(shutdown, COLLECT_INTERVAL, || self.try_collect()).await;
    }

    async fn try_collect(&self) {
        if let Err(error) = self.collect().await {
            tracing::warn!(%error, "collecting garbage failed; it is tried again later");
        }
    }
}
