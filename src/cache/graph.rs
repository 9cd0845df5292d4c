//! An index as a graph: what it says, whatever the order it is written in.
//!
//! BuildKit's own writing is not deterministic, so two indexes are compared by their graphs. A
//! layer is its chain of digests, a record its key with its inputs and results; both are hashed
//! from the bottom up, which is linear in the index and needs no text chains. Times do not count.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher,
};

use super::index_format::{CacheConfig, IndexError, Layer, NO_PARENT, layer_order, record_order};
use crate::digest::{Digest, Hasher};

/// What an index says. Equal graphs are interchangeable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Graph(Digest);

impl Graph {
    /// The graph of an index.
    pub fn from_index(config: &CacheConfig) -> Result<Self, IndexError> {
        config.check()?;
        let layers = layer_hashes(config)?;
        let records = record_hashes(config, &layers)?;
        let mut graph = Node::new("index");
        graph.set(layers);
        graph.set(records);
        Ok(Self(graph.finish()))
    }
}

/// The index without some blobs: every layer of theirs is left out with all layers upon it, and
/// records lose the results that name one of those. Records, keys and links stay.
pub fn without(
    config: &CacheConfig,
    failed: &HashSet<Digest, impl BuildHasher>,
) -> Result<CacheConfig, IndexError> {
    config.check()?;
    let mut stays = vec![false; config.layers.len()];
    for at in layer_order(config)? {
        let layer = &config.layers[at];
        let parent_stays = parent(layer.parent).is_none_or(|parent| stays[parent]);
        stays[at] = parent_stays && !failed.contains(&layer.blob);
    }
    let mut left = config.clone();
    // The new place of each layer that stays.
    let mut places = vec![None; stays.len()];
    let staying = places.iter_mut().zip(&stays).filter(|(_, stays)| **stays);
    for (next, (place, _)) in (0..).zip(staying) {
        *place = Some(next);
    }
    let mut at = stays.iter();
    left.layers.retain(|_| at.next() == Some(&true));
    for layer in &mut left.layers {
        if let Some(place) = parent(layer.parent).and_then(|parent| places[parent]) {
            layer.parent = i64::from(place);
        }
    }
    for record in &mut left.records {
        record
            .results
            .retain_mut(|result| renumber(&places, &mut result.layer));
        record.chains.retain_mut(|chain| {
            chain
                .layers
                .iter_mut()
                .all(|layer| renumber(&places, layer))
        });
    }
    Ok(left)
}

/// What it saves to have a blob: its size and that of all layers upon it, which are worth nothing
/// without it. So a layer is worth more than those upon it.
pub(super) fn savings(config: &CacheConfig) -> Result<HashMap<Digest, u64>, IndexError> {
    config.check()?;
    let size = |layer: &Layer| {
        let size = layer
            .annotations
            .as_ref()
            .map_or(0, |annotations| annotations.size);
        u64::try_from(size).unwrap_or(0)
    };
    let mut saved: Vec<u64> = config.layers.iter().map(size).collect();
    for at in layer_order(config)?.into_iter().rev() {
        if let Some(parent) = parent(config.layers[at].parent) {
            saved[parent] = saved[parent].saturating_add(saved[at]);
        }
    }
    let mut savings: HashMap<Digest, u64> = HashMap::new();
    for (layer, saved) in config.layers.iter().zip(saved) {
        // One blob may stand upon several others.
        let total = savings.entry(layer.blob).or_default();
        *total = total.saturating_add(saved);
    }
    Ok(savings)
}

/// Gives a layer its new place; false if it has none.
fn renumber(places: &[Option<u32>], layer: &mut u32) -> bool {
    match places[*layer as usize] {
        Some(place) => {
            *layer = place;
            true
        }
        None => false,
    }
}

/// The place of a parent in an index whose places have been checked.
fn parent(place: i64) -> Option<usize> {
    debug_assert!(place >= NO_PARENT);
    usize::try_from(place).ok()
}

fn layer_hashes(config: &CacheConfig) -> Result<Vec<Digest>, IndexError> {
    let mut hashes = vec![Digest::sha256([]); config.layers.len()];
    for at in layer_order(config)? {
        let layer = &config.layers[at];
        let mut node = Node::new("layer");
        node.digest(&layer.blob);
        node.set(parent(layer.parent).map(|parent| hashes[parent]));
        hashes[at] = node.finish();
    }
    Ok(hashes)
}

fn record_hashes(config: &CacheConfig, layers: &[Digest]) -> Result<Vec<Digest>, IndexError> {
    let mut hashes = vec![Digest::sha256([]); config.records.len()];
    for at in record_order(config)? {
        let record = &config.records[at];
        let mut node = Node::new("record");
        node.text(&record.digest);
        node.set(
            record
                .results
                .iter()
                .map(|result| layers[result.layer as usize]),
        );
        node.set(record.chains.iter().map(|chain| {
            let mut node = Node::new("chain");
            for layer in &chain.layers {
                node.digest(&config.layers[*layer as usize].blob);
            }
            node.finish()
        }));
        for links in &record.inputs {
            node.set(links.iter().map(|link| {
                let mut node = Node::new("link");
                node.text(&link.selector);
                node.digest(&hashes[link.link as usize]);
                node.finish()
            }));
        }
        hashes[at] = node.finish();
    }
    Ok(hashes)
}

/// Hashes one node of the graph. Digests have one length, and lengths stand before texts and
/// sets, so that no two different
/// nodes feed the same bytes.
struct Node(Hasher);

impl Node {
    fn new(kind: &str) -> Self {
        let mut node = Self(Hasher::default());
        node.text(kind);
        node
    }

    fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn digest(&mut self, digest: &Digest) {
        self.0.update(digest.as_bytes());
    }

    /// Adds other nodes without regard to order and repetition.
    fn set(&mut self, members: impl IntoIterator<Item = Digest>) {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_unstable();
        members.dedup();
        self.0.update(&(members.len() as u64).to_le_bytes());
        for member in members {
            self.digest(&member);
        }
    }

    fn finish(self) -> Digest {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests;
