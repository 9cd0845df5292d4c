//! An import as a read-only content store: each index as a manifest and a config, and the layers.
//!
//! It is for BuildKit's `local` importer, where a daemon cannot reach our loopback endpoint.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::Arc,
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future::join_all};

use super::{
    FetchError, ImportJob,
    blob::Blob,
    graph,
    index_format::CacheConfig,
    manifest::{LOCAL_IMPORT_LIMIT, LocalCache, ManifestError},
};
use crate::{
    content::{ContentInfo, Error, Host, Reader},
    digest::Digest,
};

/// The content store of one import.
pub struct ContentImport {
    job: Arc<ImportJob>,
    manifests: Vec<Digest>,
    documents: HashMap<Digest, Bytes>,
    made_at: SystemTime,
}

impl ContentImport {
    /// Makes manifests that name the layers which can be promised now: the importer reads all
    /// of them, and one that fails spoils the whole import.
    pub(super) async fn new(job: Arc<ImportJob>) -> Arc<Self> {
        let mut host = Self {
            manifests: Vec::new(),
            documents: HashMap::new(),
            made_at: SystemTime::now(),
            job: Arc::clone(&job),
        };
        let missing = missing(&job).await;
        job.for_each_config(|config| {
            if let Err(error) = host.add(config, &missing) {
                job.warn("cache import: an index cannot be used", error.to_string());
            }
        });
        Arc::new(host)
    }

    /// The manifests, one for each index, in the token's order of scopes.
    pub fn manifests(&self) -> &[Digest] {
        &self.manifests
    }

    fn add(&mut self, config: &CacheConfig, missing: &HashSet<Digest>) -> Result<(), Unusable> {
        let there = graph::without(config, missing).map_err(ManifestError::from)?;
        let local = LocalCache::from_index(&there)?;
        if there.layers.is_empty() {
            return Ok(());
        }
        if !local.fits_local_import() {
            return Err(Unusable::TooLarge);
        }
        let digest = Digest::of(&local.manifest);
        self.manifests.push(digest);
        for document in [local.manifest, local.config] {
            self.documents
                .insert(Digest::of(&document), document.into());
        }
        Ok(())
    }

    async fn blob(&self, digest: Digest) -> Result<Blob, Error> {
        match self.documents.get(&digest) {
            Some(document) => Ok(Blob::in_memory(document.clone())),
            None => self.job.fetch(digest).await.map_err(|e| match e {
                FetchError::NotFound(digest) => Error::NotFound(digest.to_string()),
                error => Error::Internal(error.to_string()),
            }),
        }
    }
}

/// Why an index is not offered.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(
        "BuildKit reads no manifest above {LOCAL_IMPORT_LIMIT} bytes over gRPC; the import \
         through the loopback endpoint has no such limit"
    )]
    TooLarge,
}

/// The layers that the indexes name and that cannot be promised.
async fn missing(job: &ImportJob) -> HashSet<Digest> {
    let mut named = HashSet::new();
    job.for_each_config(|config| named.extend(config.layers.iter().map(|layer| layer.blob)));
    let looks = named.into_iter().map(|digest| async move {
        let promise = job.confirm(digest).await;
        promise.is_none().then_some(digest)
    });
    join_all(looks).await.into_iter().flatten().collect()
}

#[async_trait]
impl Host for ContentImport {
    async fn info(&self, digest: Digest) -> Result<ContentInfo, Error> {
        let size = match self.documents.get(&digest) {
            Some(document) => Some(document.len() as u64),
            None => self.job.confirm(digest).await,
        };
        Ok(ContentInfo {
            digest,
            size: size.ok_or_else(|| Error::NotFound(digest.to_string()))?,
            created_at: self.made_at,
            updated_at: self.made_at,
            labels: BTreeMap::new(),
        })
    }

    async fn read(&self, digest: Digest, range: Range<u64>) -> Result<Reader, Error> {
        let bytes = self.blob(digest).await?.read(range);
        Ok(bytes.map_err(|e| Error::Internal(e.to_string())).boxed())
    }
}
