//! How much it is worth to be served, when not all can be.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What a call saves if it is made: of those that wait for their turn, the largest goes first.
/// A clone is the same priority, so that it can still change while its call waits.
#[derive(Debug, Clone, Default)]
pub struct Priority(Arc<AtomicU64>);

impl Priority {
    /// A priority of so much; bytes saved are the usual measure.
    pub fn new(value: u64) -> Self {
        Self(Arc::new(AtomicU64::new(value)))
    }

    /// More than any other: an export is worth nothing without its index.
    pub fn first() -> Self {
        Self::new(u64::MAX)
    }

    /// True for [`Priority::first`].
    pub fn is_first(&self) -> bool {
        self.get() == u64::MAX
    }

    /// Changes it, for its clones too.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
