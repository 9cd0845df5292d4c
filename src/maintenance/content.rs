//! Reads indexes, as far as the token allows.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt as _, stream};

use super::{
    entries::IndexEntry,
    progress::Progress,
    remote::{NoContent, Remote, readable},
};
use crate::{
    actions::{self, Client},
    cache::index_format::{self, CacheConfig, IndexError},
    digest::Digest,
    protocol::key,
};

/// Indexes that are read side by side: each may take some hundred MB of memory while it is parsed.
const PARALLEL: usize = 4;

/// What of an index is kept of all indexes of a repository.
#[derive(Debug, Clone)]
pub(super) struct IndexSummary {
    /// The digest of its bytes, which a signature is stored under.
    pub digest: Digest,
    /// Each blob once, with the size that the index says.
    pub layers: HashMap<Digest, u64>,
    pub records: usize,
}

/// Why an index is not known. What it names counts as in use.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum UnreadableIndex {
    #[error("{0}")]
    NoContent(#[from] NoContent),
    #[error("this token reads {0}")]
    OtherRef(String),
    #[error("the token finds the entry with this key in {0}")]
    Shadowed(String),
    #[error("it is listed and is not found")]
    NotFound,
    #[error("{0}")]
    Remote(Arc<actions::Error>),
    #[error("{0}")]
    Invalid(Arc<IndexError>),
}

/// Reads the indexes of one listing.
pub(super) struct IndexReader<'a> {
    client: Result<&'a Client, NoContent>,
    scopes: Vec<String>,
    /// The refs that have an entry with this key.
    refs: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> IndexReader<'a> {
    pub fn new(remote: &'a Remote, all: &'a [IndexEntry]) -> Self {
        let mut refs: HashMap<&str, Vec<&str>> = HashMap::new();
        for index in all {
            let of_key = refs.entry(index.row.key.as_str()).or_default();
            of_key.push(&index.row.git_ref);
        }
        let client = remote.content.as_ref().map_err(Clone::clone);
        let scopes = client.as_ref().map(|client| readable(client.token()));
        Self {
            scopes: scopes.unwrap_or_default(),
            client,
            refs,
        }
    }

    /// The whole index, with the digest of its bytes.
    pub async fn read(&self, index: &IndexEntry) -> Result<(Digest, CacheConfig), UnreadableIndex> {
        let client = self.client.clone()?;
        self.check_ref(index)?;
        let remote = |error| UnreadableIndex::Remote(Arc::new(error));
        let key = &index.row.key;
        let found = client.lookup(key, &key::version()).await.map_err(remote)?;
        let entry = found.filter(|entry| entry.key == *key);
        let entry = entry.ok_or(UnreadableIndex::NotFound)?;
        let limit = index_format::MAX_BYTES as u64;
        let raw = client.read_all(&entry, limit).await.map_err(remote)?;
        let digest = Digest::sha256(&raw);
        let parsed = tokio::task::spawn_blocking(move || index_format::parse(&raw)).await;
        let config = parsed.expect("parsing does not panic");
        Ok((
            digest,
            config.map_err(|error| UnreadableIndex::Invalid(Arc::new(error)))?,
        ))
    }

    /// A lookup goes through the scopes of the token in order.
    fn check_ref(&self, index: &IndexEntry) -> Result<(), UnreadableIndex> {
        let git_ref = &index.row.git_ref;
        if !self.scopes.contains(git_ref) {
            return Err(UnreadableIndex::OtherRef(self.scopes.join(", ")));
        }
        let refs = &self.refs[index.row.key.as_str()];
        let first = self
            .scopes
            .iter()
            .find(|scope| refs.contains(&scope.as_str()));
        match first.filter(|first| *first != git_ref) {
            None => Ok(()),
            Some(other) => Err(UnreadableIndex::Shadowed(other.clone())),
        }
    }

    /// What is kept of these indexes, in their order.
    pub async fn summaries(
        &self,
        indexes: &[&IndexEntry],
        progress: &Progress,
    ) -> Vec<Result<IndexSummary, UnreadableIndex>> {
        let total = indexes.len() as u64;
        let reading = indexes.iter().map(|index| async {
            let (digest, config) = self.read(index).await?;
            Ok(IndexSummary {
                digest,
                layers: layers(&config),
                records: config.records.len(),
            })
        });
        let mut read = stream::iter(reading).buffered(PARALLEL);
        let mut summaries = Vec::with_capacity(indexes.len());
        while let Some(summary) = read.next().await {
            summaries.push(summary);
            progress.count("reading indexes", summaries.len() as u64, total);
        }
        summaries
    }
}

/// Each blob once, with its size; 0 where the index does not say.
pub(super) fn layers(config: &CacheConfig) -> HashMap<Digest, u64> {
    let size = |layer: &index_format::Layer| {
        let annotations = layer.annotations.as_ref();
        annotations.map_or(0, |annotations| {
            u64::try_from(annotations.size).unwrap_or(0)
        })
    };
    let layers = config.layers.iter();
    layers.map(|layer| (layer.blob, size(layer))).collect()
}
