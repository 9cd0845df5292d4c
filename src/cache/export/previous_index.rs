//! An index that is in the cache already, and what an export needs to know of it.

use std::{collections::HashMap, io, sync::Arc};

use crate::{
    actions::{Client, Error, Identity},
    cache::{
        graph::Graph,
        index::{self, Newest},
        index_format::{self, Layer, StepTable},
        quarantine::Quarantine,
        repair,
    },
    digest::Digest,
    lifecycle::run_blocking,
    protocol::key::IndexKey,
};

/// Layers and their sizes; 0 where nobody has said it.
pub(super) type Sizes = HashMap<Digest, u64>;

/// What an index in the cache says. One that is not valid says nothing.
#[derive(Default)]
pub(super) struct PreviousIndex {
    pub key: String,
    pub graph: Option<Graph>,
    /// Entries that it knows to be damaged.
    pub damaged: Vec<String>,
    /// The layers that it names, with their sizes.
    pub layers: Sizes,
    /// What it says of the steps that made it.
    pub steps: Option<Arc<StepTable>>,
    /// Why its bytes could not be had.
    pub unreadable: Option<Error>,
}

/// Reads indexes. What they name as damaged is quarantined: other gateways have found it.
#[derive(Clone)]
pub(in crate::cache) struct IndexReader {
    version: String,
    quarantine: Arc<Quarantine>,
}

impl IndexReader {
    pub fn new(version: String, quarantine: Arc<Quarantine>) -> Self {
        Self {
            version,
            quarantine,
        }
    }

    /// The newest index under `key`.
    pub(super) async fn newest(
        &self,
        client: &Client,
        key: &IndexKey,
    ) -> Result<Option<Arc<PreviousIndex>>, Error> {
        match index::newest(client, key, &self.version).await? {
            Some(newest) => Ok(Some(self.parse(client.identity(), newest).await)),
            None => Ok(None),
        }
    }

    /// The index with exactly this key, if its upload is finished.
    pub(super) async fn exact(
        &self,
        client: &Client,
        key: &str,
    ) -> Result<Option<Arc<PreviousIndex>>, Error> {
        match index::exact(client, key, &self.version).await? {
            Some(index) => Ok(Some(self.parse(client.identity(), index).await)),
            None => Ok(None),
        }
    }

    async fn parse(&self, identity: &Identity, index: Newest) -> Arc<PreviousIndex> {
        let Newest { key, body } = index;
        let raw = match body {
            Ok(raw) => raw,
            Err(error) => {
                return Arc::new(PreviousIndex {
                    key,
                    unreadable: Some(error),
                    ..PreviousIndex::default()
                });
            }
        };
        let parsed = run_blocking::<_, io::Error>(move || {
            let config = index_format::parse(&raw).ok();
            Ok(config.map(|config| (Graph::from_index(&config).ok(), config)))
        });
        let Ok(Some((graph, config))) = parsed.await else {
            let nothing = PreviousIndex::default();
            return Arc::new(PreviousIndex { key, ..nothing });
        };
        repair::quarantine_named(&self.quarantine, identity, &config);
        Arc::new(PreviousIndex {
            key,
            graph,
            layers: config.layers.iter().map(size).collect(),
            damaged: config.damaged,
            steps: config.steps.map(Arc::new),
            unreadable: None,
        })
    }
}

fn size(layer: &Layer) -> (Digest, u64) {
    let size = layer
        .annotations
        .as_ref()
        .map_or(0, |annotations| annotations.size);
    (layer.blob, u64::try_from(size).unwrap_or(0))
}
