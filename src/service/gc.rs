//! Collects what was abandoned: reservations that nobody finishes and files that no entry needs; and
//! drops entries whose content is not all there.

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Service, api_error::ApiError, config::COLLECT_INTERVAL};

impl Service {
    /// Collects once.
    pub async fn collect(&self) -> Result<(), ApiError> {
        let now = self.now();
        let before = now
            .checked_sub(self.config().reservation_age)
            .unwrap_or(Timestamp::MIN);
        let (uploads, files) = self
            .blocking(move |entries| {
                entries.note_accesses();
                entries.drop_all_damaged()?;
                Ok((entries.expire_uploads(before)?, entries.collect_files()?))
            })
            .await?;
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
        let mut interval = tokio::time::interval(COLLECT_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = shutdown.cancelled() => return,
            }
            if let Err(error) = self.collect().await {
                tracing::warn!(%error, "collecting garbage failed; it is tried again later");
            }
        }
    }
}
