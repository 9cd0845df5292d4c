//! How much it is worth to be served, when not all can be.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Of the calls that wait for their turn, the one with the highest priority goes first.
#[derive(Debug, Clone)]
pub struct Priority(Class);

#[derive(Debug, Clone)]
enum Class {
    /// What the call saves if it is made. Clones share it, so that it can still change while a call
    /// waits.
    Savings(Arc<AtomicU64>),
    First,
}

/// A priority at one moment, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Savings(u64),
    First,
}

impl Priority {
    /// A priority for a call that saves so much; bytes are the usual measure.
    pub fn new(savings: u64) -> Self {
        Self(Class::Savings(Arc::new(AtomicU64::new(savings))))
    }

    /// Before any other: an export is worth nothing without its index.
    pub fn first() -> Self {
        Self(Class::First)
    }

    /// True for [`Priority::first`].
    pub(super) fn is_first(&self) -> bool {
        self.rank() == Rank::First
    }

    /// Raises what its calls save to `savings`, for its clones too.
    pub fn raise(&self, savings: u64) {
        if let Class::Savings(shared) = &self.0 {
            shared.fetch_max(savings, Ordering::Relaxed);
        }
    }

    pub(super) fn rank(&self) -> Rank {
        match &self.0 {
            Class::Savings(shared) => Rank::Savings(shared.load(Ordering::Relaxed)),
            Class::First => Rank::First,
        }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::new(0)
    }
}
