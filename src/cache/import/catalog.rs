//! What the indexes that an import has loaded say, scope by scope and layer by layer.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::{
    cache::{
        index::LoadedIndex,
        index_format::CacheConfig,
        summary::{FoundIndex, IndexSummary, NoIndex},
    },
    digest::Digest,
    protocol::key::IndexKey,
};

/// The indexes of one import, in the token's order of scopes.
pub(super) struct LayerCatalog {
    scopes: Vec<ScopeIndex>,
}

/// The index of one scope; nothing in it until it is loaded, or known that it cannot be.
pub(super) struct ScopeIndex {
    key: IndexKey,
    /// The token's scope, which is a branch or another ref.
    branch: String,
    index: OnceLock<Result<Index, NoIndex>>,
}

/// A valid index.
pub(super) struct Index {
    /// Dropped when the build ends: buildkitd has read it by then.
    document: Mutex<Option<Arc<Document>>>,
    layers: HashMap<Digest, IndexedLayer>,
    /// When the newest thing that it names was made.
    created: Option<Timestamp>,
    /// The signature over the stored bytes, where signatures are wanted.
    signature: Option<Signature>,
}

/// What an index says of a layer.
#[derive(Clone, Copy)]
pub(super) struct IndexedLayer {
    /// Its size, where the index has it.
    pub size: Option<u64>,
    /// What it unpacks to.
    pub diff_id: Digest,
}

/// An index as buildkitd gets it, and what it says.
pub(super) struct Document {
    pub stored: LoadedIndex,
    pub config: CacheConfig,
}

/// A signature as it is stored.
pub(super) struct Signature {
    pub key: String,
    pub raw: Bytes,
}

impl LayerCatalog {
    /// A catalog for the indexes with these keys, each of a scope of the token, none of which is loaded.
    pub fn new(keys: impl IntoIterator<Item = (IndexKey, String)>) -> Self {
        let scope = |(key, branch)| ScopeIndex {
            key,
            branch,
            index: OnceLock::new(),
        };
        Self {
            scopes: keys.into_iter().map(scope).collect(),
        }
    }

    /// The scopes whose indexes are to be loaded.
    pub fn scopes(&self) -> &[ScopeIndex] {
        &self.scopes
    }

    /// The index whose key without number is `base`, if it has been loaded and not dropped.
    pub fn stored(&self, base: &str) -> Option<LoadedIndex> {
        let mut scopes = self.scopes.iter();
        let scope = scopes.find(|scope| scope.key.base() == base)?;
        Some(scope.index()?.document()?.stored.clone())
    }

    /// The signature of a loaded index by its key.
    pub fn signature(&self, key: &str) -> Option<Bytes> {
        let mut signatures = self.indexes().filter_map(|index| index.signature.as_ref());
        let signature = signatures.find(|signature| signature.key == key)?;
        Some(signature.raw.clone())
    }

    /// What the indexes say of a layer; nothing if none names it.
    pub fn layer(&self, digest: Digest) -> impl Iterator<Item = IndexedLayer> {
        self.indexes()
            .filter_map(move |index| index.layers.get(&digest).copied())
    }

    /// What was found in each scope so far.
    pub fn summary(&self) -> Vec<IndexSummary> {
        let found = |index: &Index| FoundIndex {
            created: index.created,
            layers: index.layers.len(),
        };
        let scopes = self.scopes.iter().map(|scope| IndexSummary {
            branch: scope.branch.clone(),
            found: match scope.index.get() {
                Some(loaded) => loaded.as_ref().map(found).map_err(|reason| *reason),
                None => Err(NoIndex::Late),
            },
        });
        scopes.collect()
    }

    /// Whether the index of another scope than that of `key` names the layer.
    pub fn names_elsewhere(&self, digest: Digest, key: &IndexKey) -> bool {
        let mut scopes = self.scopes.iter();
        scopes.any(|scope| {
            scope.key != *key
                && scope
                    .index()
                    .is_some_and(|index| index.layers.contains_key(&digest))
        })
    }

    /// The documents that have been loaded and not dropped.
    pub fn documents(&self) -> impl Iterator<Item = Arc<Document>> {
        self.indexes().filter_map(Index::document)
    }

    /// Drops the documents, which only buildkitd's importer reads. What they say of layers stays.
    pub fn drop_documents(&self) {
        for index in self.indexes() {
            index.document.lock().take();
        }
    }

    fn indexes(&self) -> impl Iterator<Item = &Index> {
        self.scopes.iter().filter_map(ScopeIndex::index)
    }
}

impl ScopeIndex {
    pub fn key(&self) -> &IndexKey {
        &self.key
    }

    /// Keeps what was loaded, or why nothing was. Only the first call counts.
    pub fn set(&self, index: Result<Index, NoIndex>) {
        drop(self.index.set(index));
    }

    fn index(&self) -> Option<&Index> {
        self.index.get()?.as_ref().ok()
    }
}

impl Index {
    pub fn new(
        document: Document,
        layers: HashMap<Digest, IndexedLayer>,
        signature: Option<Signature>,
    ) -> Self {
        Self {
            created: document.config.newest_creation(),
            document: Mutex::new(Some(Arc::new(document))),
            layers,
            signature,
        }
    }

    fn document(&self) -> Option<Arc<Document>> {
        self.document.lock().clone()
    }
}
