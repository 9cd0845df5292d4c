//! One import: the indexes of every scope, and the layers that they name.
//!
//! BuildKit takes a hit for a promise: a layer that it cannot read afterwards fails the build. So
//! an index is answered from what is loaded and valid, and a layer only after a look at its bytes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tokio::{sync::watch, time::Instant};

mod confirm;
mod load;
mod prefetch;
mod repair;
mod small_blobs;
mod verify;
mod wait_budget;

use self::{
    confirm::{Confirmations, ConfirmedLayer},
    prefetch::Prefetcher,
};
use super::{
    Shared,
    attributes::{Attributes, Verify},
    blob::{Blob, FetchError, Fetched, Remedy},
    content_import::ContentImport,
    fetch::Fetch,
    index::LoadedIndex,
    index_format::CacheConfig,
    report::{Event, Reporter},
    single_flight::SharedFuture,
};
use crate::{
    actions::{Client, Token},
    digest::Digest,
    lifecycle::TaskGuard,
    protocol::{key::IndexKey, scope::Scope},
};

/// One entry of `--cache-from` of one build.
pub struct ImportJob {
    core: Arc<Core>,
    _loader: TaskGuard,
}

/// The job itself, shared with the task that loads.
struct Core {
    cache: Arc<Shared>,
    client: Client,
    version: String,
    /// How long loading the indexes may take.
    timeout: std::time::Duration,
    reporter: Arc<dyn Reporter>,
    slots: Vec<Slot>,
    /// The index that this token may write, if any.
    writable: Option<IndexKey>,
    verify: Verify,
    loaded: watch::Receiver<bool>,
    promises: Confirmations,
    ahead: Prefetcher,
}

/// The index of one scope; nothing in it until it is loaded, `None` if there is none.
struct Slot {
    key: IndexKey,
    index: OnceLock<Option<Index>>,
}

/// A valid index.
struct Index {
    /// Dropped when the build ends: buildkitd has read it by then.
    document: Mutex<Option<Arc<Document>>>,
    /// The layers that it names, and what it says of them.
    layers: HashMap<Digest, Recorded>,
    /// The signature over the stored bytes, where signatures are wanted.
    signature: Option<Signature>,
}

/// What an index says of a layer.
#[derive(Clone, Copy)]
struct Recorded {
    /// Its size, where the index has it.
    size: Option<u64>,
    /// What it unpacks to.
    diff_id: Digest,
}

/// An index as buildkitd gets it, and what it says.
struct Document {
    stored: LoadedIndex,
    config: CacheConfig,
}

/// A signature as it is stored.
struct Signature {
    key: String,
    raw: bytes::Bytes,
}

impl ImportJob {
    /// A job that begins to load at once.
    pub(super) fn new(
        cache: Arc<Shared>,
        client: Client,
        spec: &Attributes,
        version: String,
        reporter: Arc<dyn Reporter>,
    ) -> Arc<Self> {
        let signed = cache.settings.signed;
        let slot = |scope: &Scope| Slot {
            key: IndexKey::new(&spec.scope, &scope.name, signed),
            index: OnceLock::new(),
        };
        let slots = client.token().readable().map(slot).collect();
        let writable = client.token().last_writable();
        let writable = writable.map(|scope| IndexKey::new(&spec.scope, &scope.name, signed));
        let (done, loaded) = watch::channel(false);
        let patience = cache.settings.lookup_wait.min(spec.timeout);
        let promises = Confirmations::new(cache.settings.parallel_lookups, patience);
        let core = Arc::new(Core {
            cache,
            client,
            version,
            timeout: spec.timeout,
            reporter,
            slots,
            writable,
            verify: spec.import_verify,
            loaded,
            promises,
            ahead: Prefetcher::default(),
        });
        let tasks = core.cache.tasks.clone();
        let loading = Arc::clone(&core);
        let task = tasks.spawn_guarded("load indexes", async move {
            loading.load().await;
            done.send_replace(true);
        });
        Arc::new(Self {
            core,
            _loader: task,
        })
    }

    /// Waits until all indexes are loaded or known to be missing. False if that took longer.
    pub async fn ready(&self, deadline: Instant) -> bool {
        let mut loaded = self.core.loaded.clone();
        let ready = tokio::time::timeout_at(deadline, loaded.wait_for(|loaded| *loaded)).await;
        matches!(ready, Ok(Ok(_)))
    }

    /// The token of the import.
    pub fn token(&self) -> &Token {
        self.core.client.token()
    }

    /// The scopes of the token, in its order.
    pub fn scopes(&self) -> &[Scope] {
        self.core.client.token().scopes()
    }

    /// The index whose key without number is `base`, from what has been loaded so far.
    pub fn index(&self, base: &str) -> Option<LoadedIndex> {
        let slot = self
            .core
            .slots
            .iter()
            .find(|slot| slot.key.base() == base)?;
        Some(slot.get()?.document()?.stored.clone())
    }

    /// The signature of a loaded index by its key (`buildkit-blob-1-<digest>-sig`).
    pub fn signature(&self, key: &str) -> Option<bytes::Bytes> {
        let signatures = self.core.indexes().filter_map(|i| i.signature.as_ref());
        signatures
            .into_iter()
            .find(|signature| signature.key == key)
            .map(|signature| signature.raw.clone())
    }

    /// The size of a layer if it is there for certain: it was looked up and its URL answers.
    /// `None` is a cache miss.
    pub async fn confirm(&self, digest: Digest) -> Option<u64> {
        Some(self.core.promised(digest).await?.size)
    }

    /// The verified bytes of a layer. One download serves everybody who asks meanwhile; it ends
    /// when nobody waits any more.
    pub async fn fetch(&self, digest: Digest) -> Result<Blob, FetchError> {
        self.core.fetch(digest).await
    }

    /// The read-only content store of this import, for a daemon that cannot reach our loopback.
    /// It offers the layers that can be promised now.
    pub async fn content_host(self: &Arc<Self>) -> Arc<ContentImport> {
        ContentImport::new(Arc::clone(self)).await
    }

    /// Tells people that something was lost.
    pub(super) fn warn(&self, short: &str, detail: String) {
        self.core.warn(short, detail);
    }

    /// Visits the valid indexes that have been loaded, in the token's order of scopes.
    pub(super) fn for_each_config(&self, mut visit: impl FnMut(&CacheConfig)) {
        for document in self.core.documents() {
            visit(&document.config);
        }
    }

    /// Drops what can be had again: the build has ended, and hardly anybody asks any more. Builds
    /// that share its steps still find its layers.
    pub fn retire(&self) {
        self.core.promises.drop_content();
        self.core.ahead.clear();
        for index in self.core.indexes() {
            index.lock().take();
        }
    }
}

impl Index {
    fn document(&self) -> Option<Arc<Document>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Document>>> {
        self.document.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn get(&self) -> Option<&Index> {
        self.index.get()?.as_ref()
    }
}

impl Core {
    fn indexes(&self) -> impl Iterator<Item = &Index> {
        self.slots.iter().filter_map(Slot::get)
    }

    /// What the indexes say of a layer; nothing if none names it.
    fn recorded(&self, digest: Digest) -> impl Iterator<Item = Recorded> {
        (self.indexes()).filter_map(move |index| index.layers.get(&digest).copied())
    }

    fn documents(&self) -> impl Iterator<Item = Arc<Document>> {
        self.indexes().filter_map(Index::document)
    }

    async fn fetch(self: &Arc<Self>, digest: Digest) -> Result<Blob, FetchError> {
        let (size, flight) = if let Some(kept) = self.ahead.take(digest) {
            kept
        } else {
            let not_found = FetchError::NotFound(digest);
            let promised = self.promised(digest).await.ok_or(not_found)?;
            // What was verified before it was promised serves one pull.
            if let Some(blob) = promised.kept.take() {
                self.read_ahead(digest);
                return Ok(blob);
            }
            (promised.size, self.flight(digest, &promised))
        };
        self.read_ahead(digest);
        match landed(size, flight).await {
            Ok(blob) => {
                self.cache.delivered.note(digest);
                Ok(blob)
            }
            Err(error) => Err(self.lost(error).await),
        }
    }

    /// Says that a layer could not be had, and repairs what can be repaired.
    async fn lost(self: &Arc<Self>, mut error: FetchError) -> FetchError {
        if let FetchError::Damaged {
            digest,
            key,
            repair,
            ..
        } = &mut error
        {
            *repair = self.repair(*digest, key).await;
        }
        if self.verify != Verify::Full {
            error.advise(Remedy::Verify);
        }
        self.warn(
            "cache import: a layer could not be fetched",
            error.to_string(),
        );
        error
    }

    /// Fetches a layer into the spool.
    async fn download(
        &self,
        digest: Digest,
        promised: &ConfirmedLayer,
    ) -> Result<Blob, FetchError> {
        landed(promised.size, self.flight(digest, promised)).await
    }

    /// The fetch of a layer, which all who want it share. It moves while somebody awaits it.
    fn flight(&self, digest: Digest, promised: &ConfirmedLayer) -> SharedFuture<Fetched> {
        let fetch = Fetch {
            cache: Arc::clone(&self.cache),
            client: self.client.insisting(),
            reporter: Arc::clone(&self.reporter),
            entry: promised.entry.clone(),
            digest,
            size: promised.size,
        };
        let key = (self.client.identity().clone(), digest);
        self.cache.fetches.join(key, || fetch.boxed())
    }

    fn warn(&self, short: &str, detail: String) {
        self.reporter.report(Event::Warning {
            short: short.to_owned(),
            detail: vec![detail],
        });
    }
}

/// The layer of a fetch that has come to its end.
async fn landed(size: u64, flight: SharedFuture<Fetched>) -> Result<Blob, FetchError> {
    let file = flight.clone().await?;
    Ok(Blob::spooled(size, file, flight))
}
