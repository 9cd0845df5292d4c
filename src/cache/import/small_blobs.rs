//! Verified layers that wait to be pulled: small ones in memory, others in the spool.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::cache::{blob::Blob, config::SMALL_MEMORY};

/// A verified layer, for the first who takes it. What was pulled, or is dropped with its build, is
/// fetched again by whoever still asks.
#[derive(Clone, Default)]
pub(super) struct SmallBlob(Arc<Mutex<Option<Content>>>);

/// The bytes, and their share of the memory of the import where they are there.
struct Content {
    blob: Blob,
    _share: Option<Share>,
}

impl SmallBlob {
    /// The layer, which is not kept any more.
    pub fn take(&self) -> Option<Blob> {
        Some(self.0.lock().take()?.blob)
    }

    /// Whether there is something to take.
    pub fn holds(&self) -> bool {
        self.0.lock().is_some()
    }

    /// The layer, which stays kept.
    pub fn peek(&self) -> Option<Blob> {
        Some(self.0.lock().as_ref()?.blob.clone())
    }

    /// Keeps a layer that is in the spool.
    pub fn put(&self, blob: Blob) {
        let content = Content { blob, _share: None };
        *self.0.lock() = Some(content);
    }
}

/// The memory of one import for small layers.
#[derive(Default)]
pub(super) struct SmallMemory {
    used: Arc<AtomicU64>,
    closed: AtomicBool,
}

impl SmallMemory {
    /// Keeps small content if there is memory for it.
    pub fn keep(&self, content: Bytes) -> Option<SmallBlob> {
        if self.closed.load(Ordering::Relaxed) {
            return None;
        }
        let bytes = content.len() as u64;
        let room = |used: u64| Some(used + bytes).filter(|used| *used <= SMALL_MEMORY);
        let order = Ordering::Relaxed;
        self.used.fetch_update(order, order, room).ok()?;
        let share = Share {
            used: Arc::clone(&self.used),
            bytes,
        };
        let content = Content {
            blob: Blob::in_memory(content),
            _share: Some(share),
        };
        Some(SmallBlob(Arc::new(Mutex::new(Some(content)))))
    }

    /// Keeps nothing from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// Memory in use, given back with the content.
struct Share {
    used: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_makes_room() {
        let memory = SmallMemory::default();
        let whole = Bytes::from(vec![0; usize::try_from(SMALL_MEMORY).unwrap()]);
        let kept = memory.keep(whole.clone()).unwrap();
        assert!(memory.keep(Bytes::from_static(b"more")).is_none());
        assert!(kept.holds() && kept.take().is_some() && !kept.holds());
        assert!(kept.take().is_none(), "it serves one pull");
        assert!(memory.keep(whole).is_some());
        memory.close();
        assert!(memory.keep(Bytes::from_static(b"more")).is_none());
    }
}
