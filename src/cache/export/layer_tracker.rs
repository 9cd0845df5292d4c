//! What is truly in the cache: layer by layer, by proof or by a confirmed upload.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::{layer_error::LayerError, upload::Upload};
use crate::{actions::Deadline, digest::Digest};

/// Layers of one export; the graph of a build has hundreds at most. It bounds what a client can
/// make the gateway remember.
const MAX_LAYERS: usize = 100_000;

/// Where one layer is.
#[derive(Clone)]
pub(super) enum LayerState {
    /// Proven to exist when the build wanted to write it.
    Proven,
    /// On its way.
    Uploading(Arc<Upload>),
    /// Given up.
    Failed(LayerError),
}

/// The layers of one export. Clearing or dropping it ends uploads that nobody else waits for.
#[derive(Default)]
pub(super) struct LayerTracker(Mutex<Layers>);

#[derive(Default)]
struct Layers {
    states: BTreeMap<Digest, LayerState>,
    /// A layer was refused, so what is not in `states` may have been written.
    overflowed: bool,
    closed: bool,
}

/// How every layer ended.
#[derive(Default)]
pub(super) struct Settled {
    /// In the cache for certain.
    pub confirmed: BTreeSet<Digest>,
    /// Not there, and why.
    pub failed: BTreeMap<Digest, LayerError>,
    /// Why a layer that is in neither is not there; `None` if the build did not write it.
    pub untracked: Option<LayerError>,
}

impl LayerTracker {
    /// Notes where a layer is now. Once the tracker is closed it notes nothing: nobody would let go of
    /// an upload that it holds.
    pub fn record(&self, digest: Digest, state: LayerState) {
        let mut layers = self.0.lock();
        if layers.closed {
            return;
        }
        if layers.states.len() >= MAX_LAYERS && !layers.states.contains_key(&digest) {
            layers.overflowed = true;
            let error = LayerError::TooMany;
            tracing::warn!(%digest, %error, limit = MAX_LAYERS, "a layer is left out of the index");
            return;
        }
        layers.states.insert(digest, state);
    }

    /// How many layers are on their way.
    pub fn uploading(&self) -> usize {
        let uploading = |layer: &&LayerState| match layer {
            LayerState::Uploading(upload) => upload.is_under_way(),
            LayerState::Proven | LayerState::Failed(_) => false,
        };
        self.0.lock().states.values().filter(uploading).count()
    }

    /// Says how many bytes each layer saves, for uploads that wait for their turn.
    pub fn prioritize(&self, savings: &HashMap<Digest, u64>) {
        for (digest, layer) in &self.0.lock().states {
            if let (LayerState::Uploading(upload), Some(saved)) = (layer, savings.get(digest)) {
                upload.raise_priority(*saved);
            }
        }
    }

    /// Waits until each layer is confirmed or has failed; what is not known at `deadline` has
    /// failed.
    pub async fn settle(&self, deadline: &Deadline) -> Settled {
        let (states, overflowed) = {
            let layers = self.0.lock();
            (layers.states.clone(), layers.overflowed)
        };
        let ends = states.into_iter().map(|(digest, layer)| async move {
            let end = match layer {
                LayerState::Proven => Ok(()),
                LayerState::Uploading(upload) => upload.settled(deadline).await,
                LayerState::Failed(error) => Err(error),
            };
            (digest, end)
        });
        let mut settled = Settled {
            untracked: overflowed.then_some(LayerError::TooMany),
            ..Settled::default()
        };
        for (digest, end) in join_all(ends).await {
            match end {
                Ok(()) => drop(settled.confirmed.insert(digest)),
                Err(error) => drop(settled.failed.insert(digest, error)),
            }
        }
        settled
    }

    /// Forgets all layers.
    pub fn clear(&self) {
        let states = std::mem::take(&mut self.0.lock().states);
        // Outside of the lock: uploads end here.
        drop(states);
    }

    /// Forgets all layers, and notes none from now on.
    pub fn close(&self) {
        self.0.lock().closed = true;
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_layer_too_many_is_not_blamed_on_the_build() {
        let tracker = LayerTracker::default();
        let layer = |n: usize| Digest::sha256(n.to_string());
        for n in 0..MAX_LAYERS {
            tracker.record(layer(n), LayerState::Proven);
        }
        let deadline = Deadline::from(Instant::now());
        assert!(tracker.settle(&deadline).await.untracked.is_none());
        tracker.record(layer(MAX_LAYERS), LayerState::Proven);
        // What is tracked already can still change.
        tracker.record(layer(0), LayerState::Failed(LayerError::Interrupted));
        let settled = tracker.settle(&deadline).await;
        assert_eq!(
            (settled.confirmed.len(), settled.failed.len()),
            (MAX_LAYERS - 1, 1)
        );
        assert!(matches!(settled.untracked, Some(LayerError::TooMany)));
    }

    #[tokio::test]
    async fn a_closed_tracker_holds_nothing() {
        let tracker = LayerTracker::default();
        tracker.record(Digest::sha256("a"), LayerState::Proven);
        tracker.close();
        tracker.record(Digest::sha256("b"), LayerState::Proven);
        let settled = tracker.settle(&Deadline::from(Instant::now())).await;
        assert!(settled.confirmed.is_empty());
    }
}
