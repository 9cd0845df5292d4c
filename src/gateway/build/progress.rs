//! What the cache jobs of one build have to say, kept for the Status streams of the build.
//!
//! Status streams begin before, during and after the jobs, and there may be more than one, so the state
//! is kept here and each stream reads what is newer than its last revision.
//!
//! | part | what |
//! |---|---|
//! | `state`, `export_rows`, `job_rows` | which vertex shows an event, and by which rows |
//! | `log` | what the gateway's own log has of it |
//! | `rows`, `transfers`, `live`, `texts` | rows, layers on their way, names that count, words |
//! | `cache_vertex`, `export_vertices` | the vertex of our own, and BuildKit's for our exports |
//! | `warnings`, `daemon_warnings` | what was lost, held back until all of it is known; its way to buildkitd |
//! | `steps`, `sources` | when the build's steps ran, and where they stand in the Dockerfile |

mod cache_vertex;
mod daemon_warnings;
mod export_rows;
mod export_vertices;
mod job_rows;
mod live;
mod log;
mod rows;
mod sources;
mod state;
mod steps;
mod texts;
mod transfers;
mod warnings;

use std::{
    collections::HashSet,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::watch, time::Instant};

pub(super) use daemon_warnings::WarningTarget;
pub(crate) use export_vertices::ExportVertices;

use daemon_warnings::DaemonWarnings;
use log::log;
use state::{EXPORT_NAME, ProgressState};

use super::{counters::BuildCounters, records::BuildRecord};
use crate::{
    cache::{Event, ImportJob, Reporter, Step, Warning, steps::BuildSteps},
    digest::Digest,
    proto::control::{StatusResponse, Vertex},
};

/// The ids of the statuses begin so that BuildKit's `local` exporter shows for each blob that it passes
/// on, whether the cache has it or not. Statuses of ours show what is uploaded.
const LOCAL_EXPORT_STATUS: &str = "writing ";

/// How long a warning waits for more of its cause where no export of the build is awaited: BuildKit asks
/// for all layers of a step at once.
const QUIET: Duration = Duration::from_millis(500);

/// What is known of a build for those who watch it.
pub(super) struct BuildProgress {
    /// Where warnings go; without it, to those who watch.
    daemon: Option<DaemonWarnings>,
    /// Of all builds: BuildKit's history shows them again.
    export_vertices: Arc<ExportVertices>,
    /// What its steps did, as far as a Status stream has said it.
    pub steps: Arc<BuildSteps>,
    /// What is kept of the build when it has ended.
    pub record: Arc<BuildRecord>,
    state: Mutex<ProgressState>,
    imports: Mutex<Vec<Weak<ImportJob>>>,
    /// The lines about what the cache was worth have been said.
    summed_up: AtomicBool,
    changes: watch::Sender<u64>,
}

impl BuildProgress {
    pub fn new(
        build_ref: &str,
        export_vertices: Arc<ExportVertices>,
        counters: BuildCounters,
    ) -> Self {
        let own = Digest::sha256(format!("buildkit-gha-{build_ref}"));
        let steps = Arc::default();
        Self {
            record: Arc::new(BuildRecord::new(build_ref, &steps, counters)),
            steps,
            daemon: None,
            export_vertices,
            state: Mutex::new(ProgressState::new(own.to_string())),
            imports: Mutex::default(),
            summed_up: AtomicBool::new(false),
            changes: watch::Sender::new(0),
        }
    }

    /// The same, with a buildkitd that keeps the build's warnings.
    pub fn with_daemon(mut self, build_ref: &str, target: WarningTarget) -> Self {
        self.daemon = Some(DaemonWarnings::new(target, build_ref));
        self
    }

    /// BuildKit's vertex for the `index`-th cache export of a session. BuildKit derives its digest
    /// so (solver/llbsolver/export.go of v0.32.2; older ones have no such vertex).
    pub fn export_vertex(self: &Arc<Self>, session: &str, index: usize) -> ExportVertex {
        ExportVertex {
            progress: Arc::clone(self),
            vertex: Digest::sha256(format!("{session}-cache-{index}")).to_string(),
        }
    }

    /// A reporter for everything that has no vertex of BuildKit's.
    pub fn reporter(self: &Arc<Self>) -> Arc<dyn Reporter> {
        Arc::new(CacheVertexReporter(Arc::clone(self)))
    }

    /// Warns people that something was lost.
    pub fn warn(self: &Arc<Self>, short: String, detail: Vec<String>) {
        self.report(None, Event::Warning(Warning::new(short, detail)));
    }

    /// BuildKit tells of a vertex. The answer is the name that users know, if it is one of our exports
    /// or imports.
    pub fn rename(&self, vertex: &Vertex) -> Option<String> {
        let mut state = self.state();
        if state.record_export(vertex) {
            self.changes.send_replace(state.revision());
        } else if !state.has_export(&vertex.digest)
            && !self.export_vertices.contains(&vertex.digest)
        {
            return state.import_name(vertex);
        }
        Some(EXPORT_NAME.to_owned())
    }

    /// Remembers when a step of the build ran.
    pub fn record_vertex(&self, vertex: &Vertex) {
        if let Ok(digest) = vertex.digest.parse() {
            let times = steps::times(vertex);
            self.steps.record(digest, &vertex.name, times);
        }
        self.state().record_vertex(vertex);
    }

    /// The client has called the bridge: buildkitd takes warnings from now on.
    pub fn bridge_is_open(self: &Arc<Self>) {
        if let Some(daemon) = &self.daemon {
            daemon.set_bridged();
        }
        self.schedule_warnings();
    }

    /// Remembers where steps stand, from the answer to an `LLBBridge.Solve`.
    pub fn record_sources(&self, answer: &[u8]) {
        self.state().sources.record(answer);
    }

    fn step_at(&self, moment: Timestamp) -> Option<Step> {
        self.state().steps.at(moment)
    }

    /// Lets BuildKit's vertex `from` of an import have the name `to`, which users know.
    pub fn rename_import(&self, from: String, to: String) {
        self.state().add_import_name(from, to);
    }

    /// Lets an import be summed up when the build is at its end.
    pub fn add_import(&self, job: &Arc<ImportJob>) {
        self.imports.lock().push(Arc::downgrade(job));
    }

    /// True if the vertex is BuildKit's for an export of ours.
    pub fn is_export(&self, vertex: &str) -> bool {
        self.state().has_export(vertex)
    }

    /// True if the status `id` of `vertex` shows what a status of ours shows better.
    pub fn hides_status(&self, vertex: &str, id: &str) -> bool {
        id.starts_with(LOCAL_EXPORT_STATUS) && self.is_export(vertex)
    }

    /// The revision, whenever it changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What came after the revision `seen`, in its order, and the revision now.
    pub fn changes_since(&self, seen: u64) -> (u64, StatusResponse) {
        let mut state = self.state();
        state.refresh(Instant::now());
        (state.revision(), state.changes_since(seen))
    }

    /// When something changes by itself: a name counts, a wait for a vertex is over, or our own vertex
    /// completes.
    pub fn deadline(&self) -> Option<Instant> {
        self.state().deadline()
    }

    /// Changes what [`BuildProgress::deadline`] was for.
    pub fn pass_deadline(&self) {
        let mut state = self.state();
        let now = Instant::now();
        state.refresh(now);
        state.complete_if_idle(now);
        self.changes.send_replace(state.revision());
    }

    /// The build is at its end: all that is to be said is said, and our own vertex completes.
    pub fn finish(self: &Arc<Self>) {
        self.sum_up_imports();
        self.sum_up_steps();
        let mut state = self.state();
        state.finish();
        self.changes.send_replace(state.revision());
    }

    /// True if buildkitd is to show this warning.
    pub fn is_handed_over(&self, short: &[u8]) -> bool {
        let state = self.state();
        let mut handed_over = state.warnings.handed_over().iter();
        handed_over.any(|warning| warning.short == short)
    }

    /// What buildkitd has taken to show and a stream that ends has not had.
    pub fn unseen_warnings(&self, seen: &HashSet<Vec<u8>>) -> StatusResponse {
        self.state().unseen_warnings(seen)
    }

    /// Lets the imports say what they have come to.
    fn sum_up_imports(&self) {
        let imports: Vec<_> = {
            let imports = self.imports.lock();
            imports.iter().filter_map(Weak::upgrade).collect()
        };
        // Outside of the lock: they report here.
        for import in imports {
            import.summarize();
        }
    }

    /// Says what the cache was worth, once. BuildKit's history also comes as a Status stream, of a build
    /// that does not begin here.
    fn sum_up_steps(self: &Arc<Self>) {
        if !self.record.has_begun() || self.summed_up.swap(true, Ordering::Relaxed) {
            return;
        }
        let lines = self.steps.summary().map(|summary| summary.lines());
        for line in lines.into_iter().flatten() {
            self.report(None, Event::Note(line));
        }
    }

    fn report(self: &Arc<Self>, export: Option<&str>, event: Event) {
        log(&event);
        self.record.apply(&event);
        {
            let mut state = self.state();
            state.apply(export, event, Instant::now());
            self.changes.send_replace(state.revision());
        }
        self.schedule_warnings();
    }

    /// Tells what is held back in a moment, unless an export is still to come: then it does at its end.
    fn schedule_warnings(self: &Arc<Self>) {
        let Some(daemon) = self.daemon.as_ref().filter(|daemon| daemon.is_bridged()) else {
            return;
        };
        let held = {
            let state = self.state();
            state.warnings.holds_any() && !state.awaits_export()
        };
        if !held || daemon.scheduled.swap(true, Ordering::Relaxed) {
            return;
        }
        let progress = Arc::clone(self);
        daemon.tasks().spawn("tell warnings", async move {
            tokio::time::sleep(QUIET).await;
            if let Some(daemon) = &progress.daemon {
                daemon.scheduled.store(false, Ordering::Relaxed);
            }
            progress.tell_warnings().await;
        });
    }

    /// Tells buildkitd what is held back, or those who watch what it does not take.
    async fn tell_warnings(&self) {
        let held = {
            let mut state = self.state();
            if state.awaits_export() {
                return;
            }
            state.take_warnings()
        };
        for (held, vertex, lines) in held {
            let warning = held.on_vertex(vertex, lines.clone());
            self.state().warnings.hand_over(warning.clone());
            let told = match &self.daemon {
                Some(daemon) => daemon.tell(&warning).await.is_ok(),
                None => false,
            };
            if !told {
                let mut state = self.state();
                state.warnings.take_back(&warning);
                state.show_warning(&held, lines);
                self.changes.send_replace(state.revision());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock()
    }
}

impl Drop for BuildProgress {
    /// Nobody adds to it any more.
    fn drop(&mut self) {
        if let Some(summary) = self.steps.summary() {
            self.record.set_steps(&summary);
        }
    }
}

/// Reports on BuildKit's vertex for an export.
#[derive(Clone)]
pub(super) struct ExportVertex {
    progress: Arc<BuildProgress>,
    vertex: String,
}

impl ExportVertex {
    /// Reports here, or on our own vertex where BuildKit does not start this one.
    pub fn reporter(&self) -> Arc<dyn Reporter> {
        Arc::new(self.clone())
    }

    /// Says that the export will take place: the vertex is ours.
    pub fn register(&self) {
        self.progress.export_vertices.add(&self.vertex);
        self.progress.state().add_export(&self.vertex);
    }
}

#[async_trait]
impl Reporter for ExportVertex {
    fn report(&self, event: Event) {
        self.progress.report(Some(&self.vertex), event);
    }

    async fn flush(&self) {
        self.progress.tell_warnings().await;
    }

    fn step_at(&self, moment: Timestamp) -> Option<Step> {
        self.progress.step_at(moment)
    }

    fn steps(&self) -> Option<Arc<BuildSteps>> {
        Some(Arc::clone(&self.progress.steps))
    }
}

/// Reports on our own vertex.
struct CacheVertexReporter(Arc<BuildProgress>);

#[async_trait]
impl Reporter for CacheVertexReporter {
    fn report(&self, event: Event) {
        self.0.report(None, event);
    }

    async fn flush(&self) {
        self.0.tell_warnings().await;
    }

    fn step_at(&self, moment: Timestamp) -> Option<Step> {
        self.0.step_at(moment)
    }

    fn steps(&self) -> Option<Arc<BuildSteps>> {
        Some(Arc::clone(&self.0.steps))
    }
}
