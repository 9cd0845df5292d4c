//! Lets an export go on after its build (ADR 64).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

use super::{
    layer_tracker::LayerTracker,
    pending::{PendingExport, PendingExports},
};
use crate::{cache::spool::Spool, lifecycle::Tasks};

/// What waits to be sent may fill one of so many parts of the spool before a build waits for its export
/// all the same: the layers of the next build need room, too, and those that find none are left out.
const SPOOL_PART: u64 = 2;

/// What an export with `async=true` needs to go on after its build.
pub(super) struct Background {
    pub scope: String,
    pub tasks: Tasks,
    pub pending: Arc<PendingExports>,
    pub spool: Spool,
    begun: AtomicBool,
}

impl Background {
    pub fn new(scope: String, tasks: Tasks, pending: Arc<PendingExports>, spool: Spool) -> Self {
        Self {
            scope,
            tasks,
            pending,
            spool,
            begun: AtomicBool::new(false),
        }
    }

    /// True once it goes on whatever becomes of its build.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// A place among the exports that go on, for one that waits for the layers of `tracker`; `None` if there
    /// are too many.
    pub fn reserve(&self, tracker: &Arc<LayerTracker>) -> Option<PendingExport> {
        self.pending.begin(&self.scope, tracker)
    }

    /// Lets `work` go on in this place. The answer is cancelled when it has ended.
    pub fn spawn(
        &self,
        pending: PendingExport,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> CancellationToken {
        self.begun.store(true, Ordering::Relaxed);
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        self.tasks.spawn("pending export", async move {
            work.await;
            drop(pending);
            drop(guard);
        });
        ended
    }

    /// Waits until the spool has room for the next build, or the export has `ended`.
    pub async fn wait_for_room(&self, ended: &CancellationToken) {
        let limit = self.spool.capacity() / SPOOL_PART;
        tokio::select! {
            () = ended.cancelled() => {}
            () = self.spool.wait_until_below(limit) => {}
        }
    }
}
