//! The uploads in progress, by id and by name.
//!
//! They live in memory only: bytes that were not yet synced cannot be trusted after a crash, so an
//! upload that outlived its process would be a trap. A restart frees its key instead.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::{
    api_error::ApiError,
    upload::{EntryName, Upload},
};

/// All uploads in progress.
#[derive(Debug)]
pub struct ActiveUploads {
    maps: Mutex<Maps>,
    most: usize,
}

#[derive(Debug, Default)]
struct Maps {
    by_id: HashMap<i64, Arc<Upload>>,
    by_name: HashMap<EntryName, i64>,
}

impl ActiveUploads {
    /// None, of at most `most`.
    pub fn new(most: usize) -> Self {
        Self {
            maps: Mutex::default(),
            most,
        }
    }

    /// Adds what `make` gives, if the name is free. Callers with the same name wait for each other,
    /// so exactly one of them gets it; a `make` that looks for a committed entry misses none, since
    /// an upload leaves the registry only after its entry is there.
    pub fn insert(
        &self,
        name: &EntryName,
        make: impl FnOnce() -> Result<Upload, ApiError>,
    ) -> Result<Arc<Upload>, ApiError> {
        let mut maps = self.lock();
        if maps.by_name.contains_key(name) {
            return Err(ApiError::already_exists());
        }
        if maps.by_id.len() >= self.most {
            return Err(ApiError::too_many_uploads());
        }
        let upload = Arc::new(make()?);
        maps.by_name.insert(name.clone(), upload.id);
        maps.by_id.insert(upload.id, Arc::clone(&upload));
        Ok(upload)
    }

    /// The upload with this id.
    pub fn by_id(&self, id: i64) -> Option<Arc<Upload>> {
        self.lock().by_id.get(&id).cloned()
    }

    /// The upload with this name.
    pub fn by_name(&self, name: &EntryName) -> Option<Arc<Upload>> {
        let maps = self.lock();
        maps.by_name
            .get(name)
            .and_then(|id| maps.by_id.get(id))
            .cloned()
    }

    /// Forgets an upload; its name is free again.
    pub fn remove(&self, upload: &Upload) {
        let mut maps = self.lock();
        // A second removal must not free a name that somebody else has taken meanwhile.
        if maps.by_id.remove(&upload.id).is_some() {
            maps.by_name.remove(&upload.name);
        }
    }

    /// All uploads.
    pub fn all(&self) -> Vec<Arc<Upload>> {
        self.lock().by_id.values().cloned().collect()
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Maps> {
        // Both maps are changed together and without a panic in between.
        self.maps.lock()
    }
}
