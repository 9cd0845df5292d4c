//! Layers that are fetched before BuildKit asks for them.
//!
//! BuildKit pulls a chain of layers from its top down, to the first layer that it has or to the
//! bottom, four at a time. Once four layers in a row have been asked for, others are waiting for
//! their turn: the next ones below are fetched meanwhile. What buildkitd has already had from this
//! gateway is left out, so that nothing is fetched that no build pulls.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    catalog::LayerCatalog,
    confirmations::Confirmations,
    download::{Download, Downloader},
    located::LocatedLayer,
};
use crate::{
    cache::{
        index_format::{CacheConfig, Layer},
        proof::Delivered,
        spool::Spool,
    },
    digest::Digest,
    lifecycle::{TaskGuard, Tasks},
};

/// Pulls of one daemon at a time.
const SLOTS: usize = 4;

/// Layers ahead of the pulls. Small ones are a call's time each, so this many together are as fast
/// as the link; of large ones the spool's budget allows fewer.
const LAYERS: usize = 16;

/// Layers ahead may have one part in so many of the import spool: other pulls need room whatever
/// waits there.
const SPOOL_SHARE: u64 = 4;

/// How long a fetched layer waits to be asked for. BuildKit takes seconds for a large layer in one
/// of its slots; one that it does not want is not kept for long.
const UNCLAIMED: Duration = Duration::from_mins(1);

/// Fetches layers ahead of the pulls of one import.
pub(super) struct Prefetcher {
    catalog: Arc<LayerCatalog>,
    confirmations: Arc<Confirmations>,
    downloader: Downloader,
    delivered: Arc<Delivered>,
    spool: Spool,
    tasks: Tasks,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Layers that BuildKit has asked for.
    asked: HashSet<Digest>,
    pinned: HashMap<Digest, PinnedBlob>,
}

/// A layer on its way, or in the spool.
struct PinnedBlob {
    download: Download,
    _task: TaskGuard,
}

impl Prefetcher {
    pub fn new(
        catalog: Arc<LayerCatalog>,
        confirmations: Arc<Confirmations>,
        downloader: Downloader,
        delivered: Arc<Delivered>,
        spool: Spool,
        tasks: Tasks,
    ) -> Self {
        Self {
            catalog,
            confirmations,
            downloader,
            delivered,
            spool,
            tasks,
            state: Arc::default(),
        }
    }

    /// The download of the layer that BuildKit asks for now, if it was begun ahead.
    pub fn take(&self, digest: Digest) -> Option<Download> {
        let mut state = self.state.lock();
        state.asked.insert(digest);
        Some(state.pinned.remove(&digest)?.download)
    }

    /// Forgets what was fetched and not asked for.
    pub fn clear(&self) {
        let pinned = std::mem::take(&mut self.state.lock().pinned);
        // Outside of the lock: the files go here.
        drop(pinned);
    }

    /// Fetches the layers that BuildKit is going to ask for after this one.
    pub fn fetch_after(&self, digest: Digest) {
        let mut state = self.state.lock();
        for document in self.catalog.documents() {
            for digest in next(&document.config, &state.asked, digest) {
                if state.pinned.len() >= LAYERS {
                    return;
                }
                if state.pinned.contains_key(&digest) || self.delivered.holds(digest) {
                    continue;
                }
                // It was looked up with the record that needs it, or no build needs it.
                let Some(layer) = self.confirmations.known(digest) else {
                    return;
                };
                if layer.content.holds() {
                    continue;
                }
                let pinned = state.pinned.values().map(|pinned| pinned.download.size());
                if pinned.sum::<u64>() + layer.size > self.spool.capacity() / SPOOL_SHARE {
                    return;
                }
                state.pinned.insert(digest, self.begin(&layer));
            }
        }
    }

    fn begin(&self, layer: &LocatedLayer) -> PinnedBlob {
        let download = self.downloader.start(layer);
        let (running, state) = (download.clone(), Arc::downgrade(&self.state));
        let digest = layer.digest;
        let task = self.tasks.spawn_guarded("read ahead", async move {
            // A failure is kept too, for whoever asks for the layer.
            let _ = running.finish().await;
            tokio::time::sleep(UNCLAIMED).await;
            if let Some(state) = state.upgrade() {
                let pinned = state.lock().pinned.remove(&digest);
                // Outside of the lock: the file goes here.
                drop(pinned);
            }
        });
        PinnedBlob {
            download,
            _task: task,
        }
    }
}

/// The layers below `digest` in the order in which BuildKit asks for them, as far as that is
/// known: only if those above it have been asked for too.
fn next(config: &CacheConfig, asked: &HashSet<Digest>, digest: Digest) -> Vec<Digest> {
    let layers = &config.layers;
    let places = layers.iter().enumerate();
    let places = places.filter(|(_, layer)| layer.blob == digest);
    let mut next = Vec::new();
    for (place, _) in places {
        if run_above(layers, asked, place) + 1 < SLOTS {
            continue;
        }
        let below = std::iter::successors(parent(layers, place), |place| parent(layers, *place));
        let below = below.take(layers.len()).map(|place| layers[place].blob);
        next.extend(below.filter(|digest| !asked.contains(digest)).take(LAYERS));
    }
    next
}

/// How many layers in a row above this one have been asked for, as far as that matters.
fn run_above(layers: &[Layer], asked: &HashSet<Digest>, place: usize) -> usize {
    let above = std::iter::successors(Some(place), |below| {
        let mut children = layers.iter().enumerate();
        let child = children.find(|(place, layer)| {
            asked.contains(&layer.blob) && parent(layers, *place) == Some(*below)
        });
        Some(child?.0)
    });
    above.skip(1).take(SLOTS).count()
}

/// The place of a layer's parent. A root has none.
fn parent(layers: &[Layer], place: usize) -> Option<usize> {
    usize::try_from(layers[place].parent).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(names: &[&str]) -> CacheConfig {
        let layers = names.iter().enumerate().map(|(i, name)| Layer {
            blob: Digest::sha256(name),
            parent: i64::try_from(i).unwrap() - 1,
            annotations: None,
        });
        CacheConfig {
            layers: layers.collect(),
            ..CacheConfig::default()
        }
    }

    #[test]
    fn the_layers_below_a_run_of_four_are_next() {
        let config = chain(&["a", "b", "c", "d", "e", "f", "g"]);
        let asked = |names: &[&str]| names.iter().map(Digest::sha256).collect();
        let next = |names: &[&str]| {
            let last = names.last().unwrap();
            super::next(&config, &asked(names), Digest::sha256(last))
        };
        assert_eq!(next(&["g", "f", "e"]), []);
        let below = ["c", "b", "a"].map(Digest::sha256);
        assert_eq!(next(&["g", "f", "e", "d"]), below);
        assert_eq!(next(&["g", "f", "e", "c"]), []);
        assert_eq!(next(&["f", "e", "b", "d", "c"]), [Digest::sha256("a")]);
    }
}
