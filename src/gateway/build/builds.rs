//! The builds in flight: what the gateway keeps for each, so that all calls of one build agree.
//!
//! A build begins with its Control.Solve and ends when that call ends, however it ends. Its
//! LLBBridge.Solve calls and its Status streams find it by the ref that they share.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::Span;

use super::{
    cache_entry::CacheEntry,
    counters::BuildCounters,
    progress::{BuildProgress, ExportVertices, WarningTarget},
    records::BuildRecords,
    rewrite::EntryEdit,
};
use crate::{
    cache::{ExportJob, ImportJob},
    content,
    digest::Digest,
    gateway::endpoint::{Access, Endpoint},
    stats::{self, FailedExports, UnfinishedExport},
    telemetry::{spans, trace::TraceSpan},
};

/// Everything that builds share.
pub(crate) struct Builds {
    endpoint: Endpoint,
    /// Where the warnings of builds go.
    warnings: WarningTarget,
    by_ref: Mutex<HashMap<String, Weak<Build>>>,
    /// How many are in `by_ref`; changed under its lock.
    in_flight: watch::Sender<usize>,
    closed: AtomicBool,
    progress: Mutex<HashMap<String, Weak<BuildProgress>>>,
    export_vertices: Arc<ExportVertices>,
    records: BuildRecords,
    counters: BuildCounters,
    stores: Mutex<HashMap<String, Arc<dyn content::Host>>>,
}

/// One build in flight.
pub(super) struct Build {
    builds: Arc<Builds>,
    /// What its Status streams show.
    pub progress: Arc<BuildProgress>,
    /// The ref that all its calls carry.
    pub reference: String,
    /// What is done for it is part of this.
    pub span: Span,
    /// The same in a trace.
    pub trace: TraceSpan,
    /// What became of each import, by its canonical attributes. Held while it is being decided, so
    /// that two calls cannot decide differently.
    pub imports: tokio::sync::Mutex<BTreeMap<String, PlannedImport>>,
    /// How long the build may still wait for indexes; None before the first wait. Held while one
    /// call waits, so that all waits together take no longer than one may.
    pub index_wait: tokio::sync::Mutex<Option<Duration>>,
    default_cache: OnceLock<CacheEntry>,
    resources: Mutex<BuildResources>,
}

/// What became of an import entry.
#[derive(Clone)]
pub(super) struct PlannedImport {
    /// What stands in its place, in all four places.
    pub edit: EntryEdit,
    /// The job behind it, if there is one.
    pub job: Option<Arc<ImportJob>>,
}

impl PlannedImport {
    /// An import that cannot be used; the build's log says why.
    pub fn dropped() -> Self {
        Self {
            edit: EntryEdit::REMOVE,
            job: None,
        }
    }
}

#[derive(Default)]
struct BuildResources {
    exports: Vec<Arc<ExportJob>>,
    stores: Vec<String>,
    accesses: Vec<Access>,
    reported: HashSet<String>,
}

impl Builds {
    pub fn new(endpoint: Endpoint, warnings: WarningTarget, counters: BuildCounters) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            warnings,
            by_ref: Mutex::default(),
            in_flight: watch::Sender::new(0),
            closed: AtomicBool::new(false),
            progress: Mutex::default(),
            export_vertices: Arc::default(),
            records: BuildRecords::default(),
            counters,
            stores: Mutex::default(),
        })
    }

    /// Begins the build `build_ref`, or joins it if a call of it is in flight already.
    pub fn begin(
        self: &Arc<Self>,
        build_ref: &str,
        trace: impl FnOnce() -> TraceSpan,
    ) -> Arc<Build> {
        let progress = self.progress(build_ref);
        let mut by_ref = self.by_ref.lock();
        if let Some(build) = by_ref.get(build_ref).and_then(Weak::upgrade) {
            return build;
        }
        let build = Arc::new(Build {
            builds: Arc::clone(self),
            progress,
            reference: build_ref.to_owned(),
            span: spans::build(build_ref),
            trace: trace(),
            imports: tokio::sync::Mutex::default(),
            index_wait: tokio::sync::Mutex::default(),
            default_cache: OnceLock::new(),
            resources: Mutex::default(),
        });
        by_ref.insert(build_ref.to_owned(), Arc::downgrade(&build));
        self.in_flight.send_replace(by_ref.len());
        self.endpoint.set_idle(false);
        build
    }

    /// Takes no builds from now on: [`Builds::is_closed`] says so to whoever begins one.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// True if no build may begin any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Returns when no build is in flight.
    pub async fn idle(&self) {
        let mut in_flight = self.in_flight.subscribe();
        // The sender lives in `self`: this cannot fail.
        let _ = in_flight.wait_for(|builds| *builds == 0).await;
    }

    /// How many builds are in flight.
    pub fn count(&self) -> usize {
        *self.in_flight.borrow()
    }

    /// The exports of builds in flight that are under way.
    pub fn exports(&self) -> Vec<UnfinishedExport> {
        // Unlocked before any of them is dropped, which locks.
        let builds: Vec<_> = self
            .by_ref
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        builds.iter().flat_map(|build| build.exports()).collect()
    }

    pub fn find(&self, build_ref: &str) -> Option<Arc<Build>> {
        self.by_ref.lock().get(build_ref)?.upgrade()
    }

    /// The progress of a build, which a Status stream may ask for before the build begins.
    pub fn progress(&self, build_ref: &str) -> Arc<BuildProgress> {
        let mut all = self.progress.lock();
        if let Some(progress) = all.get(build_ref).and_then(Weak::upgrade) {
            return progress;
        }
        all.retain(|_, progress| progress.strong_count() > 0);
        let progress = BuildProgress::new(
            build_ref,
            Arc::clone(&self.export_vertices),
            self.counters.clone(),
        );
        let progress = Arc::new(progress.with_daemon(build_ref, self.warnings.clone()));
        all.insert(build_ref.to_owned(), Arc::downgrade(&progress));
        progress
    }

    /// What is known of the last builds, the newest first.
    pub fn records(&self) -> Vec<stats::Build> {
        self.records.builds()
    }

    /// How many exports have failed so far.
    pub fn failed_exports(&self) -> FailedExports {
        self.counters.failed_exports()
    }

    /// The content host of a store id, if a build in flight made it.
    pub fn content_host(&self, store_id: &str) -> Option<Arc<dyn content::Host>> {
        self.stores.lock().get(store_id).cloned()
    }

    /// The endpoint that buildkitd reads from.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Build {
    /// Says that the build named no cache and has this one instead, in all its calls.
    pub fn set_default_cache(&self, entry: CacheEntry) {
        self.default_cache.get_or_init(|| entry);
    }

    /// The cache that the build has because it named none.
    pub fn default_cache(&self) -> Option<&CacheEntry> {
        self.default_cache.get()
    }

    /// Keeps what it does, for those who ask for the last builds.
    pub fn keep_record(&self) {
        self.progress.record.begin();
        self.builds.records.add(&self.progress.record);
    }

    /// Says how its Solve ended. Only the first call counts.
    pub fn end(&self, outcome: stats::Outcome) {
        self.progress.record.end(outcome);
    }

    /// Answers Content calls for `store_id` with `host` as long as the build lives.
    pub fn add_content_host(&self, store_id: &str, host: Arc<dyn content::Host>) {
        self.builds.stores.lock().insert(store_id.to_owned(), host);
        self.resources.lock().stores.push(store_id.to_owned());
    }

    /// Keeps an export; it is cancelled if it is not done when the build ends, unless it goes on.
    pub fn add_export(&self, job: Arc<ExportJob>) {
        self.resources.lock().exports.push(job);
    }

    fn exports(&self) -> Vec<UnfinishedExport> {
        let resources = self.resources.lock();
        let exports = resources.exports.iter();
        exports.filter_map(|job| job.under_way()).collect()
    }

    /// Keeps a handle of the endpoint; it is retired when the build ends.
    pub fn add_access(&self, access: Access) {
        self.resources.lock().accesses.push(access);
    }

    /// True the first time that the build's log is to have this text about an entry.
    pub fn is_first_report(&self, text: &str) -> bool {
        self.resources.lock().reported.insert(text.to_owned())
    }

    /// True if `digest` is the manifest of an export of ours.
    pub fn wrote_manifest(&self, digest: Digest) -> bool {
        let resources = self.resources.lock();
        resources
            .exports
            .iter()
            .any(|job| job.manifest() == Some(digest))
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        // Nobody has said otherwise: its client left.
        self.end(stats::Outcome::Canceled);
        let resources = std::mem::take(&mut *self.resources.lock());
        for job in resources.exports {
            job.cancel();
        }
        {
            let mut stores = self.builds.stores.lock();
            for store in &resources.stores {
                stores.remove(store);
            }
        }
        for access in &resources.accesses {
            self.builds.endpoint.retire(access);
        }
        let mut by_ref = self.builds.by_ref.lock();
        by_ref.retain(|_, build| build.strong_count() > 0);
        self.builds.in_flight.send_replace(by_ref.len());
        self.builds.endpoint.set_idle(by_ref.is_empty());
    }
}
