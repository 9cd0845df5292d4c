//! Work that is repeated for as long as the service runs.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Does `work` at once and then every `interval`, until `shutdown`; what has begun is finished.
pub(super) async fn repeat_until<F: Future<Output = ()>>(
    shutdown: CancellationToken,
    interval: Duration,
    work: impl Fn() -> F,
) {
    let mut interval = tokio::time::interval(interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = shutdown.cancelled() => return,
        }
        work().await;
    }
}
