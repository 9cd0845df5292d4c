//! The end of a process that has uploads in progress: it takes no new ones, and those that go on are finished.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, interval, timeout};

use super::{
    config::{DRAIN_IDLE, DRAIN_POLL},
    instance::Service,
};

impl Service {
    /// Refuses new uploads from now on, says so to whoever asks after the service's health, and waits until all uploads
    /// are finished or nothing happens to them any more, or for `limit`. Requests must be served meanwhile. Answers
    /// how many uploads are at work then.
    pub async fn finish_uploads(&self, limit: Duration) -> usize {
        self.ending().store(true, Ordering::Relaxed);
        // What has not ended in its time is counted.
        let _ = timeout(limit, self.uploads_rest()).await;
        self.uploads_at_work()
    }

    /// Waits until nothing has happened to any upload for a while.
    async fn uploads_rest(&self) {
        let mut poll = interval(DRAIN_POLL);
        let mut worked = None::<Instant>;
        while self.entries().has_uploads() {
            if self.uploads_at_work() > 0 {
                worked = Some(Instant::now());
            }
            if worked.is_none_or(|last| last.elapsed() >= DRAIN_IDLE) {
                return;
            }
            poll.tick().await;
        }
    }

    fn uploads_at_work(&self) -> usize {
        let since = self.now().checked_sub(DRAIN_IDLE);
        self.entries().active_since(since.unwrap_or(self.now()))
    }
}
