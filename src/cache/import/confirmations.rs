//! What one import has found out about layers so far.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::{
    located::LocatedLayer,
    small_blobs::{SmallBlob, SmallMemory},
};
use crate::digest::Digest;

/// The outcome of looking for one layer: nothing until it is known, `None` for a layer that cannot
/// be used.
pub(super) type Confirmation = Arc<OnceCell<Option<Arc<LocatedLayer>>>>;

/// The layers that were looked for. Only layers that an index names are in it.
#[derive(Default)]
pub(super) struct Confirmations {
    layers: Mutex<HashMap<Digest, Confirmation>>,
    memory: SmallMemory,
}

impl Confirmations {
    /// The confirmation of a layer, which all who look for it fill together.
    pub fn get_or_insert(&self, digest: Digest) -> Confirmation {
        Arc::clone(self.layers.lock().entry(digest).or_default())
    }

    /// A layer that has been confirmed.
    pub fn known(&self, digest: Digest) -> Option<Arc<LocatedLayer>> {
        self.layers.lock().get(&digest)?.get()?.clone()
    }

    /// Forgets what was found out about a layer: it has changed.
    pub fn forget(&self, digest: Digest) {
        self.layers.lock().remove(&digest);
    }

    /// Keeps small verified content until it is pulled, if there is memory for it.
    pub fn keep_small(&self, content: Bytes) -> Option<SmallBlob> {
        self.memory.keep(content)
    }

    /// Drops the content that waits to be pulled, and keeps none from now on.
    pub fn drop_content(&self) {
        self.memory.close();
        let layers = self.layers.lock();
        let located = layers.values().filter_map(|layer| layer.get()?.as_ref());
        for layer in located {
            layer.content.take();
        }
    }
}
