//! Tells the store of entries again and again that this process is there, so that nobody takes what it has reserved.

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{config::RENEW_INTERVAL, instance::Service};

impl Service {
    /// Does so until `shutdown`. The lease is longer than what is in flight may take after that.
    pub(super) async fn keep_reservations_until(&self, shutdown: CancellationToken) {
        let mut interval = tokio::time::interval(RENEW_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = shutdown.cancelled() => return,
            }
            let kept = self.run(async |entries| entries.keep_reservations().await);
            if let Err(error) = kept.await {
                let cause = error.cause();
                tracing::warn!(%error, cause, "reservations are not renewed");
            }
        }
    }
}
