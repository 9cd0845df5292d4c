//! The uploads of which this process takes the bytes.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{api_error::ApiError, upload::Upload};

/// All uploads in progress, of which there is a largest number.
#[derive(Debug)]
pub(super) struct ActiveUploads {
    by_id: Mutex<HashMap<i64, (Arc<Upload>, UploadSlot)>>,
    slots: Arc<Semaphore>,
}

/// Room for one upload.
#[derive(Debug)]
pub(super) struct UploadSlot(
    #[expect(dead_code, reason = "it is given back by its drop")] OwnedSemaphorePermit,
);

impl ActiveUploads {
    /// No uploads yet, and at most `most` of them ever.
    pub(super) fn new(most: usize) -> Self {
        Self {
            by_id: Mutex::default(),
            slots: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Room for another one, if there is any.
    pub(super) fn slot(&self) -> Result<UploadSlot, ApiError> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        slot.map(UploadSlot)
            .map_err(|_| ApiError::too_many_uploads())
    }

    /// Adds an upload.
    pub(super) fn insert(&self, upload: &Arc<Upload>, slot: UploadSlot) {
        let mut by_id = self.by_id.lock();
        by_id.insert(upload.id, (Arc::clone(upload), slot));
    }

    /// The upload with this id.
    pub(super) fn by_id(&self, id: i64) -> Option<Arc<Upload>> {
        let by_id = self.by_id.lock();
        by_id.get(&id).map(|(upload, _)| Arc::clone(upload))
    }

    /// Forgets an upload.
    pub(super) fn remove(&self, id: i64) {
        // What was forgotten may be large: it is dropped outside of the lock.
        let removed = self.by_id.lock().remove(&id);
        drop(removed);
    }

    /// All uploads.
    pub(super) fn all(&self) -> Vec<Arc<Upload>> {
        let by_id = self.by_id.lock();
        by_id
            .values()
            .map(|(upload, _)| Arc::clone(upload))
            .collect()
    }
}
