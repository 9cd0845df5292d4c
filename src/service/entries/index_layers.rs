//! The layers of an index, and the steps that made them. No I/O.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::{
    digest::Digest,
    index_format::{CacheConfig, LayerPrefix, StepEntry, StepLayer},
    service::store::Entry,
};

/// Most layers that are shown of one index; the index of a build of a thousand steps has about as many.
const MAX_LAYERS: usize = 2_000;

/// Most steps that are shown of one index.
const MAX_STEPS: usize = 2_000;

/// A layer at one place of an index.
pub(crate) struct LayerNode {
    pub(crate) digest: Digest,
    /// The place of the layer below it, if that is shown.
    pub(crate) parent: Option<usize>,
    /// As the index says.
    pub(crate) size: Option<u64>,
    pub(crate) media_type: String,
    pub(crate) created: Option<Timestamp>,
    /// How many cache keys lead to it.
    pub(crate) results: usize,
    /// The steps that it is the result of.
    pub(crate) steps: Vec<StepNode>,
    /// The entries that have its bytes.
    pub(crate) entries: Vec<Entry>,
    /// Places in [`super::IndexTree::sharing`].
    pub(crate) shared_with: Vec<usize>,
}

/// A step, as far as it is known.
pub(crate) struct StepNode {
    /// Tells it from others, in all builds.
    pub(crate) key: String,
    /// How long it ran, in milliseconds.
    pub(crate) millis: Option<u64>,
}

/// The layers of an index, as many as are shown.
pub(super) fn layers_of(config: &CacheConfig) -> Vec<LayerNode> {
    let mut results = vec![0; config.layers.len()];
    for record in &config.records {
        let tops = record.results.iter().map(|result| result.layer);
        let chains = record
            .chains
            .iter()
            .filter_map(|chain| chain.layers.last().copied());
        for layer in tops.chain(chains) {
            results[layer as usize] += 1;
        }
    }
    let shown = config.layers.iter().take(MAX_LAYERS).zip(results);
    shown
        .map(|(layer, results)| {
            let annotations = layer.annotations.as_ref();
            let parent = usize::try_from(layer.parent).ok();
            LayerNode {
                digest: layer.blob,
                parent: parent.filter(|parent| *parent < MAX_LAYERS),
                size: annotations.and_then(|known| u64::try_from(known.size).ok()),
                media_type: annotations.map_or_else(String::new, |known| known.media_type.clone()),
                created: annotations.and_then(|known| known.created_at.moment()),
                results,
                steps: Vec::new(),
                entries: Vec::new(),
                shared_with: Vec::new(),
            }
        })
        .collect()
}

/// Puts steps at their layers. Answers how many have none.
pub(super) fn add_steps(layers: &mut [LayerNode], config: &CacheConfig) -> usize {
    let mut places: HashMap<LayerPrefix, usize> = HashMap::new();
    for (at, layer) in layers.iter().enumerate() {
        let prefix = LayerPrefix::from_digest(&layer.digest);
        places.entry(prefix).or_insert(at);
    }
    let steps = config.steps.iter().flat_map(|table| &table.steps);
    let mut without_layer = 0;
    for StepEntry { key, millis, layer } in steps.take(MAX_STEPS) {
        let place = match layer {
            StepLayer::Exported(prefix) => places.get(prefix),
            StepLayer::NotExported | StepLayer::Unknown => None,
        };
        match place {
            Some(at) => layers[*at].steps.push(StepNode {
                key: hex::encode(key.as_bytes()),
                millis: *millis,
            }),
            None => without_layer += 1,
        }
    }
    without_layer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index_format::Layer;

    #[test]
    fn no_more_layers_are_shown_than_a_browser_holds() {
        let layer = |at: usize| Layer {
            blob: Digest::sha256(at.to_string()),
            // The first stands upon the last, which is not shown.
            parent: i64::try_from(at.checked_sub(1).unwrap_or(MAX_LAYERS)).unwrap(),
            annotations: None,
        };
        let config = CacheConfig {
            layers: (0..=MAX_LAYERS).map(layer).collect(),
            ..CacheConfig::default()
        };
        let shown = layers_of(&config);
        assert_eq!(shown.len(), MAX_LAYERS);
        assert_eq!((shown[0].parent, shown[1].parent), (None, Some(0)));
    }
}
