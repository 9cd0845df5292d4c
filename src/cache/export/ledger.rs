//! What is truly in the cache: layer by layer, by proof or by a confirmed upload.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::join_all;

use super::{Failure, upload::Upload};
use crate::{actions::Deadline, digest::Digest};

/// Layers of one export; the graph of a build has hundreds at most. It bounds what a client can
/// make the gateway remember.
const MAX_LAYERS: usize = 100_000;

/// Where one layer is.
#[derive(Clone)]
pub(super) enum Layer {
    /// Proven to exist when the build wanted to write it.
    Proven,
    /// On its way.
    Uploading(Arc<Upload>),
    /// Given up.
    Failed(Failure),
}

/// The layers of one export. Clearing or dropping it ends uploads that nobody else waits for.
#[derive(Default)]
pub(super) struct Ledger(Mutex<BTreeMap<Digest, Layer>>);

/// How every layer ended.
#[derive(Default)]
pub(super) struct Settled {
    /// In the cache for certain.
    pub confirmed: BTreeSet<Digest>,
    /// Not there, and why.
    pub failed: BTreeMap<Digest, Failure>,
}

impl Ledger {
    /// Notes where a layer is now. False if there is no room for it.
    pub fn note(&self, digest: Digest, layer: Layer) -> bool {
        let mut layers = self.lock();
        if layers.len() >= MAX_LAYERS && !layers.contains_key(&digest) {
            return false;
        }
        layers.insert(digest, layer);
        true
    }

    /// How many layers are on their way.
    pub fn uploading(&self) -> usize {
        let uploading = |layer: &&Layer| matches!(layer, Layer::Uploading(_));
        self.lock().values().filter(uploading).count()
    }

    /// Says how much each layer is worth, for those that wait for their turn.
    pub fn weigh(&self, worth: &HashMap<Digest, u64>) {
        for (digest, layer) in &*self.lock() {
            if let (Layer::Uploading(upload), Some(worth)) = (layer, worth.get(digest)) {
                upload.weigh(*worth);
            }
        }
    }

    /// Waits until each layer is confirmed or has failed; what is not known at `deadline` has
    /// failed.
    pub async fn settle(&self, deadline: &Deadline) -> Settled {
        let layers = self.lock().clone();
        let ends = layers.into_iter().map(|(digest, layer)| async move {
            let end = match layer {
                Layer::Proven => Ok(()),
                Layer::Uploading(upload) => upload.settled(deadline).await,
                Layer::Failed(failure) => Err(failure),
            };
            (digest, end)
        });
        let mut settled = Settled::default();
        for (digest, end) in join_all(ends).await {
            match end {
                Ok(()) => drop(settled.confirmed.insert(digest)),
                Err(failure) => drop(settled.failed.insert(digest, failure)),
            }
        }
        settled
    }

    /// Forgets all layers.
    pub fn clear(&self) {
        let layers = std::mem::take(&mut *self.lock());
        // Outside of the lock: uploads end here.
        drop(layers);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Layer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
