//! An import as a read-only content store: each index as a manifest and a config, and the layers.
//!
//! It is for BuildKit's `local` importer, where a daemon cannot reach our loopback endpoint.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future::join_all};

use super::{
    blob::Blob,
    fetch_error::FetchError,
    graph,
    import::{ConfirmedLayer, ImportJob},
    index_format::CacheConfig,
    manifest::{LOCAL_IMPORT_LIMIT, LocalCache, ManifestError},
};
use crate::{
    content::{ContentInfo, Error, Host, Reader},
    digest::Digest,
};

/// The read-only content store of one import.
pub struct ContentImport {
    manifests: Vec<Digest>,
    documents: HashMap<Digest, Bytes>,
    layers: HashMap<Digest, ConfirmedLayer>,
    made_at: SystemTime,
}

impl ContentImport {
    /// Makes manifests that name the layers which can be confirmed now: the importer reads all
    /// of them, and one that fails spoils the whole import.
    pub async fn new(job: &ImportJob) -> Self {
        let (layers, missing) = confirm_all(job).await;
        let mut host = Self {
            manifests: Vec::new(),
            documents: HashMap::new(),
            layers,
            made_at: SystemTime::now(),
        };
        job.for_each_config(|config| {
            if let Err(error) = host.add(config, &missing) {
                job.warn("cache import: an index cannot be used", error.to_string());
            }
        });
        host
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
        let digest = Digest::sha256(&local.manifest);
        self.manifests.push(digest);
        for document in [local.manifest, local.config] {
            self.documents
                .insert(Digest::sha256(&document), document.into());
        }
        Ok(())
    }

    async fn blob(&self, digest: Digest) -> Result<Blob, Error> {
        if let Some(document) = self.documents.get(&digest) {
            return Ok(Blob::in_memory(document.clone()));
        }
        let not_found = |digest: Digest| Error::NotFound(digest.to_string());
        let layer = self.layers.get(&digest).ok_or_else(|| not_found(digest))?;
        layer.open().await.map_err(|error| match error {
            FetchError::NotFound(digest) => not_found(digest),
            error => Error::Internal(error.to_string()),
        })
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

/// The layers that the indexes name: those that are there, and those that are not.
async fn confirm_all(job: &ImportJob) -> (HashMap<Digest, ConfirmedLayer>, HashSet<Digest>) {
    let mut named = HashSet::new();
    job.for_each_config(|config| named.extend(config.layers.iter().map(|layer| layer.blob)));
    let confirmed = named.iter().map(async |digest| {
        let layer = job.confirm(*digest).await?;
        Some((*digest, layer))
    });
    let confirmed: HashMap<_, _> = join_all(confirmed).await.into_iter().flatten().collect();
    named.retain(|digest| !confirmed.contains_key(digest));
    (confirmed, named)
}

#[async_trait]
impl Host for ContentImport {
    async fn info(&self, digest: Digest) -> Result<ContentInfo, Error> {
        let document = self.documents.get(&digest);
        let size = document.map(|document| document.len() as u64);
        let size = size.or_else(|| {
            let layer = self.layers.get(&digest);
            let layer = layer.filter(|layer| layer.is_usable());
            layer.map(ConfirmedLayer::size)
        });
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
