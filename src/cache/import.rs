//! One import: the indexes of every scope, and the layers that they name.
//!
//! BuildKit takes a hit at its word: a layer that it cannot read afterwards fails the build. So an
//! index is answered from what is loaded and valid, and a layer only after a look at its bytes.
//!
//! | part | what it does |
//! |---|---|
//! | `index_loader` → `catalog` | loads the indexes; what they say of layers |
//! | `confirmer`, `inspector`, `verify` → `confirmations` | finds out whether a layer is there |
//! | `layer_fetcher` over `download` and `prefetch` | a confirmed layer, verified, from the spool |
//! | `repairer` | takes damage out of the cache |

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

mod builder;
mod catalog;
mod confirmations;
mod confirmed;
mod confirmer;
mod download;
mod index_loader;
mod inspector;
mod layer_fetcher;
mod located;
mod prefetch;
mod repairer;
mod small_blobs;
mod unavailable;
mod verify;
mod wait_budget;

pub(super) use self::builder::ImportResources;
pub use self::confirmed::ConfirmedLayer;
use self::{
    builder::ImportBuilder, catalog::LayerCatalog, confirmations::Confirmations,
    confirmer::LayerConfirmer, layer_fetcher::LayerFetcher, prefetch::Prefetcher,
};
use super::{
    attributes::Attributes,
    config::Config,
    index::LoadedIndex,
    index_format::CacheConfig,
    meter::JobMeter,
    report::{Event, Reporter},
    summary::ImportSummary,
};
use crate::{
    actions::{Client, Token},
    digest::Digest,
    lifecycle::TaskGuard,
    protocol::scope::Scope,
    telemetry::trace::TraceSpan,
};

/// One entry of `--cache-from` of one build.
pub struct ImportJob {
    client: Client,
    reporter: Arc<dyn Reporter>,
    /// The attribute `scope=`.
    scope: String,
    begun: Instant,
    meter: Arc<JobMeter>,
    summarized: AtomicBool,
    late: AtomicBool,
    catalog: Arc<LayerCatalog>,
    confirmations: Arc<Confirmations>,
    confirmer: LayerConfirmer,
    prefetcher: Arc<Prefetcher>,
    fetcher: Arc<LayerFetcher>,
    loaded: watch::Receiver<bool>,
    /// Ends with the build.
    trace: Mutex<TraceSpan>,
    _loader: TaskGuard,
}

impl ImportJob {
    /// A job that begins to load at once. Its parts are made here, and none knows the job.
    pub(super) fn new(
        mut resources: ImportResources,
        settings: &Config,
        client: Client,
        attributes: &Attributes,
        reporter: Arc<dyn Reporter>,
    ) -> Arc<Self> {
        let tasks = resources.tasks.clone();
        let meter = Arc::clone(&resources.meter);
        let trace = std::mem::take(&mut resources.trace);
        let under = trace.parent();
        let builder =
            ImportBuilder::new(resources, settings, attributes, &client, &reporter, under);
        let downloader = builder.downloader();
        let confirmer = builder.confirmer(&downloader);
        let prefetcher = Arc::new(builder.prefetcher(&downloader));
        let fetcher = builder.fetcher(downloader, Arc::clone(&prefetcher));
        let (index_loader, catalog) = (builder.loader(), Arc::clone(&builder.catalog));
        let (done, loaded) = watch::channel(false);
        let task = tasks.spawn_guarded("load indexes", async move {
            index_loader.load(&catalog).await;
            done.send_replace(true);
        });
        Arc::new(Self {
            scope: attributes.scope.clone(),
            begun: Instant::now(),
            meter,
            summarized: AtomicBool::new(false),
            late: AtomicBool::new(false),
            catalog: builder.catalog,
            confirmations: builder.confirmations,
            confirmer,
            prefetcher,
            fetcher: Arc::new(fetcher),
            loaded,
            trace: Mutex::new(trace),
            client,
            reporter,
            _loader: task,
        })
    }

    /// Waits until all indexes are loaded or known to be missing. False if that took longer.
    pub async fn ready(&self, deadline: Instant) -> bool {
        let mut loaded = self.loaded.clone();
        let ready = tokio::time::timeout_at(deadline, loaded.wait_for(|loaded| *loaded)).await;
        let ready = matches!(ready, Ok(Ok(_)));
        self.late.fetch_or(!ready, Ordering::Relaxed);
        ready
    }

    /// The token of the import.
    pub(crate) fn token(&self) -> &Token {
        self.client.token()
    }

    /// The scopes of the token, in its order.
    pub(crate) fn scopes(&self) -> &[Scope] {
        self.client.token().scopes()
    }

    /// The index whose key without number is `base`, from what has been loaded so far.
    pub fn index(&self, base: &str) -> Option<LoadedIndex> {
        self.catalog.stored(base)
    }

    /// The signature of a loaded index by its key (`buildkit-blob-1-<digest>-sig`).
    pub fn signature(&self, key: &str) -> Option<bytes::Bytes> {
        self.catalog.signature(key)
    }

    /// A layer if it is there for certain: it was looked up and its URL answers. `None` is a cache
    /// miss.
    pub async fn confirm(&self, digest: Digest) -> Option<ConfirmedLayer> {
        let layer = self.confirmer.confirm(digest).await?;
        Some(ConfirmedLayer::new(layer, Arc::clone(&self.fetcher)))
    }

    /// Warns people of something that is not used.
    pub(super) fn warn(&self, short: &str, detail: String) {
        self.reporter.report(Event::warning(short, detail));
    }

    /// Visits the valid indexes that have been loaded, in the token's order of scopes.
    pub(super) fn for_each_config(&self, mut visit: impl FnMut(&CacheConfig)) {
        for document in self.catalog.documents() {
            visit(&document.config);
        }
    }

    /// Tells what the import has come to, once: its build is at its end.
    pub fn summarize(&self) {
        if self.summarized.swap(true, Ordering::Relaxed) {
            return;
        }
        let (fetched, (confirmed, gone)) = (self.meter.arrived(), self.meter.looked_for());
        let summary = ImportSummary {
            scope: self.scope.clone(),
            indexes: self.catalog.summary(),
            layers_confirmed: confirmed,
            layers_gone: gone,
            layers_fetched: fetched.layers,
            bytes_fetched: fetched.bytes,
            layers_ahead: fetched.unasked,
            fetching: fetched.time,
            usage: self.meter.usage(),
            duration: self.begun.elapsed(),
            late: self.late.load(Ordering::Relaxed),
        };
        self.reporter
            .report(Event::ImportSummary(Box::new(summary)));
    }

    /// Drops what can be had again: the build has ended, and hardly anybody asks any more. Builds
    /// that share its steps still find its layers.
    pub fn retire(&self) {
        self.summarize();
        drop(std::mem::take(&mut *self.trace.lock()));
        self.confirmations.drop_content();
        self.prefetcher.clear();
        self.catalog.drop_documents();
    }
}

impl Drop for ImportJob {
    fn drop(&mut self) {
        self.summarize();
    }
}
