//! Joins equal contents beside the requests: one content after the other, slowly.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    api_error::ApiError,
    config::{REDIRECT_TTL, SHARE_INTERVAL},
    instance::Service,
    periodic::repeat_until,
};

/// How much longer than any URL a content stays that nobody has any more: somebody may have begun to read it, and
/// clocks of replicas differ.
const GRACE: Duration = Duration::from_mins(10);

impl Service {
    /// Joins contents that were not compared yet, once. Does nothing where another replica does.
    pub async fn share_contents(&self) -> Result<(), ApiError> {
        let longest_url = self.config().url_ttl.max(REDIRECT_TTL);
        let joined = self.entries().share_contents(longest_url + GRACE).await?;
        self.metrics().joined(joined.bytes);
        if joined.contents > 0 {
            let (contents, bytes) = (joined.contents, joined.bytes);
            tracing::info!(contents, bytes, "contents that were stored twice are one");
        }
        Ok(())
    }

    /// Does so again and again until `shutdown`. Nobody waits for what is under way then.
    pub(super) async fn share_until(&self, shutdown: CancellationToken) {
        let repeated = repeat_until(shutdown.clone(), SHARE_INTERVAL, || self.try_share());
        tokio::select! {
            () = repeated => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn try_share(&self) {
        if let Err(error) = self.share_contents().await {
            let cause = error.cause();
            tracing::warn!(%error, cause, "equal contents could not be joined; it is tried again later");
        }
    }
}
