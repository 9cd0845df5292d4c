//! Loads the index of every scope, all at once.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::catalog::{Document, Index, IndexedLayer, LayerCatalog, ScopeIndex, Signature};
use crate::{
    actions::{self, Client},
    cache::{
        index,
        index_format::{self, CacheConfig, IndexError, Layer},
        quarantine::Quarantine,
        repair,
        report::{Event, Reporter},
        steps::{KnownIndex, LoadedSteps},
        summary::NoIndex,
        unreachable,
    },
    digest::Digest,
    lifecycle::run_blocking,
    protocol::{key, key::IndexKey},
    telemetry::{Hit, Metrics, Miss, trace::TraceParent},
};

/// Largest signature bundle that is read; real ones are some 10 KiB.
const MAX_SIGNATURE_BYTES: u64 = 1 << 20;

/// Fills the catalog of one import.
pub(super) struct IndexLoader {
    pub client: Client,
    /// The attribute `scope=`.
    pub scope: String,
    pub version: String,
    /// How long loading the indexes may take.
    pub timeout: Duration,
    /// Whether indexes have signatures, and are handed on as they are stored.
    pub signed: bool,
    pub quarantine: Arc<Quarantine>,
    pub reporter: Arc<dyn Reporter>,
    pub metrics: Metrics,
    pub trace: TraceParent,
}

impl IndexLoader {
    /// Loads the index of every scope of `catalog`. What cannot be loaded, or is no valid index, is a
    /// miss and a warning.
    pub async fn load(self, catalog: &LayerCatalog) {
        let _loading = self.trace.load_indexes();
        let client = self.client.with_deadline(Instant::now() + self.timeout);
        let steps = self.reporter.steps();
        if let Some(steps) = &steps {
            steps.expect_indexes(catalog.scopes().len());
        }
        join_all(catalog.scopes().iter().map(|scope: &ScopeIndex| async {
            scope.set(self.load_or_warn(&client, scope.key()).await);
        }))
        .await;
        self.reporter.report(Event::Indexes {
            scope: self.scope,
            indexes: catalog.summary(),
        });
    }

    async fn load_or_warn(&self, client: &Client, key: &IndexKey) -> Result<Index, NoIndex> {
        let error = match self.load_index(client, key).await {
            Ok(Some((index, steps))) => {
                self.metrics.hit(Hit::Index);
                self.tell_steps(LoadedSteps::Found(steps));
                return Ok(index);
            }
            Ok(None) => {
                self.metrics.missed(Miss::IndexAbsent);
                self.tell_steps(LoadedSteps::Absent);
                return Err(NoIndex::Absent);
            }
            Err(error) => error,
        };
        self.tell_steps(LoadedSteps::Unusable);
        let (unreachable, miss, reason) = match &error {
            LoadError::Remote(error) => {
                let warning = unreachable::warning(error);
                (warning, Miss::IndexFailed, NoIndex::Failed)
            }
            LoadError::Invalid { .. } => (None, Miss::IndexUnusable, NoIndex::Unusable),
        };
        self.metrics.missed(miss);
        self.reporter.report(unreachable.unwrap_or_else(|| {
            let short = format!("cache import: no use of the index {}", key.base());
            Event::warning(short, error.to_string())
        }));
        Err(reason)
    }

    async fn load_index(
        &self,
        client: &Client,
        key: &IndexKey,
    ) -> Result<Option<(Index, KnownIndex)>, LoadError> {
        let Some(newest) = index::newest(client, key, &self.version).await? else {
            return Ok(None);
        };
        let mut stored = newest.into_index()?;
        let raw = stored.raw.clone();
        let parsed = run_blocking(move || parse(&raw)).await;
        let (mut config, layers) = parsed.map_err(|reason| LoadError::Invalid {
            key: stored.key.clone(),
            reason,
        })?;
        repair::quarantine_named(&self.quarantine, self.client.identity(), &config);
        let steps = KnownIndex::take_from(&mut config);
        let signature = if self.signed {
            self.load_signature(client, &stored.raw).await?
        } else {
            // buildkitd gets what was checked, and not a text that it may read in another way.
            stored.raw = config.to_json().into();
            None
        };
        let document = Document { stored, config };
        Ok(Some((Index::new(document, layers, signature), steps)))
    }

    fn tell_steps(&self, loaded: LoadedSteps) {
        if let Some(steps) = self.reporter.steps() {
            steps.index_loaded(loaded);
        }
    }

    /// Signatures are stored beside blobs, under the digest of what they sign.
    async fn load_signature(
        &self,
        client: &Client,
        raw: &[u8],
    ) -> Result<Option<Signature>, LoadError> {
        let key = format!("{}-sig", key::blob(&Digest::sha256(raw)));
        match client.lookup(&key, &self.version).await? {
            Some(entry) if entry.key == key => {
                let raw = client.read_all(&entry, MAX_SIGNATURE_BYTES).await?;
                Ok(Some(Signature { key, raw }))
            }
            _ => Ok(None),
        }
    }
}

type Layers = HashMap<Digest, IndexedLayer>;

/// What a build can use of an index, if buildkitd can afford to read it.
fn parse(raw: &[u8]) -> Result<(CacheConfig, Layers), InvalidIndex> {
    let config = index_format::parse(raw)?.usable();
    config.check_cost()?;
    let layers = layers(&config)?;
    Ok((config, layers))
}

/// The layers of an index. BuildKit refuses the whole index for one without a diffID.
fn layers(config: &CacheConfig) -> Result<Layers, InvalidIndex> {
    let indexed = |layer: &Layer| {
        let annotations = layer.annotations.as_ref()?;
        let size = u64::try_from(annotations.size).ok();
        Some(IndexedLayer {
            size: size.filter(|size| *size > 0),
            diff_id: annotations.diff_id?,
        })
    };
    let layers = config.layers.iter().map(|layer| {
        let indexed = indexed(layer).ok_or(InvalidIndex::NoDiffId(layer.blob))?;
        Ok((layer.blob, indexed))
    });
    layers.collect()
}

/// Why an index is not used.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Remote(#[from] actions::Error),
    #[error("{key} is not a valid cache index: {reason}")]
    Invalid {
        key: String,
        #[source]
        reason: InvalidIndex,
    },
}

/// What is wrong with the bytes of an index.
#[derive(Debug, thiserror::Error)]
enum InvalidIndex {
    #[error(transparent)]
    Format(#[from] IndexError),
    #[error("the layer {0} has no diffID")]
    NoDiffId(Digest),
    /// The thread that reads it has failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
