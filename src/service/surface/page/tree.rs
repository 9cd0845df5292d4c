//! An index as the page gets it.

use jiff::Timestamp;
use serde::Serialize;

use super::wire::EntryRow;
use crate::service::entries::{IndexEntry, IndexTree, LayerNode};

/// What an index names.
#[derive(Debug, Serialize)]
pub(super) struct Tree {
    index: Index,
    mode: Option<String>,
    records: usize,
    layer_count: usize,
    layers: Vec<Layer>,
    steps_without_layer: usize,
    sharing: Vec<Index>,
    others_read: usize,
    others_unread: usize,
}

#[derive(Debug, Serialize)]
struct Index {
    #[serde(flatten)]
    entry: EntryRow,
    /// The attribute `scope`.
    name: String,
    number: u64,
    signed: bool,
}

impl From<IndexEntry> for Index {
    fn from(index: IndexEntry) -> Self {
        Self {
            entry: index.entry.into(),
            name: index.name.scope,
            number: index.name.number,
            signed: index.name.signed,
        }
    }
}

#[derive(Debug, Serialize)]
struct Layer {
    digest: String,
    parent: Option<usize>,
    bytes: Option<u64>,
    media_type: String,
    created: Option<Timestamp>,
    results: usize,
    steps: Vec<Step>,
    entries: Vec<EntryRow>,
    shared_with: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct Step {
    key: String,
    milliseconds: Option<u64>,
}

impl From<LayerNode> for Layer {
    fn from(layer: LayerNode) -> Self {
        let steps = layer.steps.into_iter().map(|step| Step {
            key: step.key,
            milliseconds: step.millis,
        });
        Self {
            digest: layer.digest.to_string(),
            parent: layer.parent,
            bytes: layer.size,
            media_type: layer.media_type,
            created: layer.created,
            results: layer.results,
            steps: steps.collect(),
            entries: layer.entries.into_iter().map(Into::into).collect(),
            shared_with: layer.shared_with,
        }
    }
}

impl From<IndexTree> for Tree {
    fn from(tree: IndexTree) -> Self {
        Self {
            index: tree.index.into(),
            mode: tree.mode,
            records: tree.records,
            layer_count: tree.layer_count,
            layers: tree.layers.into_iter().map(Into::into).collect(),
            steps_without_layer: tree.steps_without_layer,
            sharing: tree.sharing.into_iter().map(Into::into).collect(),
            others_read: tree.others_read,
            others_unread: tree.others_unread,
        }
    }
}
