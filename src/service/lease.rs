//! Tells the store of entries again and again that this process is there, so that nobody takes what it has reserved.

use tokio_util::sync::CancellationToken;

use super::{config::RENEW_INTERVAL, instance::Service, periodic::repeat_until};

impl Service {
    /// Does so until `shutdown`. The lease is longer than what is in flight may take after that.
    pub(super) async fn renew_lease_until(&self, shutdown: CancellationToken) {
        repeat_until(shutdown, RENEW_INTERVAL, || self.renew_lease()).await;
    }

    async fn renew_lease(&self) {
        let renewed = self.run(async |entries| entries.renew_lease().await);
        if let Err(error) = renewed.await {
            let cause = error.cause();
            tracing::warn!(%error, cause, "reservations are not renewed");
        }
    }
}
