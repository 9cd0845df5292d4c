//! Evicts beside the requests: one at a time, woken by the commit that crosses a budget.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{api_error::ApiError, auth::Caller, instance::Service, upload::Upload};

impl Service {
    /// Evicts whenever a budget is crossed, until `shutdown`; what has begun is finished.
    pub(super) async fn evict_until(&self, shutdown: CancellationToken) {
        let room = Arc::clone(self.entries().crossed_budgets());
        loop {
            tokio::select! {
                () = room.woken() => {}
                () = shutdown.cancelled() => return,
            }
            let metrics = self.metrics().clone();
            let evicted = self.run(async move |entries| entries.evict_excess(&metrics).await);
            if let Err(error) = evicted.await {
                let cause = error.cause();
                tracing::warn!(%error, cause, "entries above their budget could not be evicted");
            }
        }
    }

    /// Takes a key for an upload of `size` bytes, as far as the client knows that. Waits where entries take more than
    /// they may, on no thread.
    pub(super) async fn reserve(
        &self,
        caller: Caller,
        key: String,
        version: String,
        size: Option<u64>,
    ) -> Result<Arc<Upload>, ApiError> {
        // Who may not write hears that first.
        if caller.write_scope().is_some() {
            self.entries().check_size(size.unwrap_or(0))?;
            if !self
                .entries()
                .crossed_budgets()
                .wait(&caller.repository)
                .await
            {
                return Err(ApiError::no_room());
            }
        }
        self.run(async move |entries| entries.reserve(&caller, &key, &version).await)
            .await
    }
}
