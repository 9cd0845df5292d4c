//! How far a migration is.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::report::Moved;

/// How far it is, of how much.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Copied, or found at the target.
    pub done: Moved,
    /// What the source has.
    pub total: Moved,
}

/// Called again and again with how far it is.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// Counts what is done.
pub(super) struct Meter {
    entries: AtomicU64,
    bytes: AtomicU64,
    total: Moved,
    on_progress: OnProgress,
}

impl Meter {
    pub(super) fn new(total: Moved, on_progress: OnProgress) -> Self {
        Self {
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            total,
            on_progress,
        }
    }

    /// So many bytes more are on their way to the target.
    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// One entry more is there.
    pub(super) fn add_entry(&self) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let done = Moved {
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        };
        let total = self.total;
        (self.on_progress)(Progress { done, total });
    }
}
