//! The builds in flight: what the gateway made for each, so that all calls of one build agree.
//!
//! A build begins with its Control.Solve and ends when that call ends, however it ends. Its
//! LLBBridge.Solve calls and its Status streams find it by the ref that they share.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::{
    progress::{Board, ExportRows},
    rewrite::{Edit, Entry},
};
use crate::{
    cache::{ExportJob, ImportJob},
    content,
    digest::Digest,
    gateway::endpoint::{Access, Endpoint},
};

/// Everything that builds share.
pub struct Builds {
    endpoint: Endpoint,
    live: Mutex<HashMap<String, Weak<Build>>>,
    /// How many are in `live`; changed under its lock.
    in_flight: watch::Sender<usize>,
    closed: AtomicBool,
    boards: Mutex<HashMap<String, Weak<Board>>>,
    export_rows: Arc<ExportRows>,
    stores: Mutex<HashMap<String, Arc<dyn content::Host>>>,
}

/// One build in flight.
pub struct Build {
    builds: Arc<Builds>,
    /// What the build's viewers see.
    pub board: Arc<Board>,
    /// The ref that all its calls carry.
    pub reference: String,
    /// What became of each import, by its canonical attributes. Held while it is being decided, so
    /// that two calls cannot decide differently.
    pub imports: tokio::sync::Mutex<BTreeMap<String, Import>>,
    /// How long the build may still wait for indexes; None before the first wait. Held while one
    /// call waits, so that all waits together take no longer than one may.
    pub index_wait: tokio::sync::Mutex<Option<Duration>>,
    default_cache: OnceLock<Entry>,
    state: Mutex<Made>,
}

/// What became of an import entry.
#[derive(Clone)]
pub struct Import {
    /// What stands in its place, in all four places.
    pub edit: Edit,
    /// The job behind it, if there is one.
    pub job: Option<Arc<ImportJob>>,
}

impl Import {
    /// An import that cannot be used; the build's log says why.
    pub fn dropped() -> Self {
        Self {
            edit: Edit::REMOVE,
            job: None,
        }
    }
}

#[derive(Default)]
struct Made {
    exports: Vec<Arc<ExportJob>>,
    stores: Vec<String>,
    accesses: Vec<Access>,
    odd: HashSet<String>,
}

impl Builds {
    /// No build yet.
    pub fn new(endpoint: Endpoint) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            live: Mutex::default(),
            in_flight: watch::Sender::new(0),
            closed: AtomicBool::new(false),
            boards: Mutex::default(),
            export_rows: Arc::default(),
            stores: Mutex::default(),
        })
    }

    /// Begins the build `build_ref`, or joins it if a call of it is in flight already.
    pub fn begin(self: &Arc<Self>, build_ref: &str) -> Arc<Build> {
        let board = self.board(build_ref);
        let mut live = lock(&self.live);
        if let Some(build) = live.get(build_ref).and_then(Weak::upgrade) {
            return build;
        }
        let build = Arc::new(Build {
            builds: Arc::clone(self),
            board,
            reference: build_ref.to_owned(),
            imports: tokio::sync::Mutex::default(),
            index_wait: tokio::sync::Mutex::default(),
            default_cache: OnceLock::new(),
            state: Mutex::default(),
        });
        live.insert(build_ref.to_owned(), Arc::downgrade(&build));
        self.in_flight.send_replace(live.len());
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

    /// How many builds are in flight, and how many of their exports are under way.
    pub fn count(&self) -> (usize, usize) {
        let builds: Vec<_> = lock(&self.live)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        let exports = builds.iter().map(|build| build.exports()).sum();
        (builds.len(), exports)
    }

    /// The build of that ref, if it is in flight.
    pub fn find(&self, build_ref: &str) -> Option<Arc<Build>> {
        lock(&self.live).get(build_ref)?.upgrade()
    }

    /// The board of a build, which a Status stream may ask for before the build begins.
    pub fn board(&self, build_ref: &str) -> Arc<Board> {
        let mut boards = lock(&self.boards);
        if let Some(board) = boards.get(build_ref).and_then(Weak::upgrade) {
            return board;
        }
        boards.retain(|_, board| board.strong_count() > 0);
        let board = Arc::new(Board::new(build_ref, Arc::clone(&self.export_rows)));
        boards.insert(build_ref.to_owned(), Arc::downgrade(&board));
        board
    }

    /// The content host of a store id, if a build in flight made it.
    pub fn content_host(&self, store_id: &str) -> Option<Arc<dyn content::Host>> {
        lock(&self.stores).get(store_id).cloned()
    }

    /// The endpoint that buildkitd reads from.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Build {
    /// Says that the build named no cache and has this one instead, in all its calls.
    pub fn set_default_cache(&self, entry: Entry) {
        self.default_cache.get_or_init(|| entry);
    }

    /// The cache that the build has because it named none.
    pub fn default_cache(&self) -> Option<&Entry> {
        self.default_cache.get()
    }

    /// Answers Content calls for `store_id` with `host` as long as the build lives.
    pub fn serve(&self, store_id: &str, host: Arc<dyn content::Host>) {
        lock(&self.builds.stores).insert(store_id.to_owned(), host);
        lock(&self.state).stores.push(store_id.to_owned());
    }

    /// Keeps an export; it is cancelled if it is not done when the build ends.
    pub fn keep_export(&self, job: Arc<ExportJob>) {
        lock(&self.state).exports.push(job);
    }

    fn exports(&self) -> usize {
        let state = lock(&self.state);
        let under_way = state.exports.iter().filter(|job| job.is_under_way());
        under_way.count()
    }

    /// Keeps a handle of the endpoint; it is retired when the build ends.
    pub fn keep_access(&self, access: Access) {
        lock(&self.state).accesses.push(access);
    }

    /// True the first time that this oddity of an entry is met in this build.
    pub fn first_sight(&self, odd: &str) -> bool {
        lock(&self.state).odd.insert(odd.to_owned())
    }

    /// True if `digest` is the manifest of an export of ours.
    pub fn wrote_manifest(&self, digest: Digest) -> bool {
        let state = lock(&self.state);
        state
            .exports
            .iter()
            .any(|job| job.manifest() == Some(digest))
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        let made = std::mem::take(&mut *lock(&self.state));
        for job in made.exports {
            job.cancel();
        }
        {
            let mut stores = lock(&self.builds.stores);
            for store in &made.stores {
                stores.remove(store);
            }
        }
        for access in &made.accesses {
            self.builds.endpoint.retire(access);
        }
        let mut live = lock(&self.builds.live);
        live.retain(|_, build| build.strong_count() > 0);
        self.builds.in_flight.send_replace(live.len());
        self.builds.endpoint.set_idle(live.is_empty());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
