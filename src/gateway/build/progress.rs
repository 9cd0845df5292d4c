//! What the cache jobs of one build have to say, kept for the Status streams of the build.
//!
//! Status streams begin before, during and after the jobs, and there may be more than one, so the state
//! is kept here and each stream reads what is newer than its last revision. A transfer has one row,
//! which bounds the state by the number of layers.

mod cache_vertex;
mod export_vertices;
mod steps;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::watch, time::Instant};

use cache_vertex::CacheVertex;
pub(crate) use export_vertices::ExportVertices;
use steps::Steps;

use crate::{
    cache::{Event, Reporter, Transfer, TransferKey, TransferState},
    digest::Digest,
    proto::control::{StatusResponse, Vertex, VertexStatus, VertexWarning},
};

/// The name that an export's vertex has with stock BuildKit's `gha`.
const EXPORT_NAME: &str = "exporting to GitHub Actions Cache";

/// The vertex for what belongs to none of BuildKit's: imports, and exports that were dropped.
const CACHE_VERTEX_NAME: &str = "GitHub Actions Cache";

/// The ids of the statuses begin so that BuildKit's `local` exporter shows for each blob that it passes
/// on, whether the cache has it or not. Statuses of ours show what is uploaded.
const LOCAL_EXPORT_STATUS: &str = "writing ";

/// Warnings kept of one build. A build with more has one cause many times over.
const MAX_WARNINGS: usize = 200;

/// What is known of a build for those who watch it.
pub(super) struct BuildProgress {
    /// The digest of the vertex for what has none of BuildKit's.
    cache_vertex: String,
    /// Of all builds: BuildKit's history shows them again.
    export_vertices: Arc<ExportVertices>,
    state: Mutex<ProgressState>,
    changes: watch::Sender<u64>,
}

/// What a row below a vertex shows.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum RowKey {
    Transfer(TransferKey),
    Note(String),
}

#[derive(Default)]
struct ProgressState {
    /// Counts changes: everything below is kept with the revision that it came with.
    revision: u64,
    /// BuildKit's rows for exports of ours, and whether BuildKit has started them.
    exports: HashMap<String, bool>,
    /// BuildKit's names of imports that stand for others, and the names that users know.
    imports: HashMap<String, String>,
    cache_vertex: CacheVertex,
    steps: Steps,
    rows: BTreeMap<(String, RowKey), (u64, VertexStatus)>,
    warnings: Vec<(u64, VertexWarning)>,
}

impl BuildProgress {
    pub fn new(build_ref: &str, export_vertices: Arc<ExportVertices>) -> Self {
        Self {
            cache_vertex: Digest::sha256(format!("buildkit-gha-{build_ref}")).to_string(),
            export_vertices,
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        }
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
    pub fn warn(&self, short: String, detail: Vec<String>) {
        let event = Event::Warning { short, detail };
        log(&event);
        self.apply(None, event);
    }

    /// BuildKit shows `vertex` under `name`: the name that users know, if it is one of our exports or
    /// imports. An export's has begun now.
    pub fn rename(&self, vertex: &str, name: &str) -> Option<String> {
        let mut state = self.state();
        if let Some(begun) = state.exports.get_mut(vertex) {
            *begun = true;
        } else if !self.export_vertices.contains(vertex) {
            return state.imports.get(name).cloned();
        }
        Some(EXPORT_NAME.to_owned())
    }

    /// Remembers when a step of the build ran.
    pub fn record_vertex(&self, vertex: &Vertex) {
        self.state().steps.record(vertex);
    }

    fn step_at(&self, moment: Timestamp) -> Option<String> {
        self.state().steps.at(moment).map(str::to_owned)
    }

    /// Lets BuildKit's vertex `from` of an import have the name `to`, which users know.
    pub fn rename_import(&self, from: String, to: String) {
        self.state().imports.insert(from, to);
    }

    /// True if the status `id` of `vertex` shows what a status of ours shows better.
    pub fn hides_status(&self, vertex: &str, id: &str) -> bool {
        id.starts_with(LOCAL_EXPORT_STATUS) && self.state().exports.contains_key(vertex)
    }

    /// The revision, whenever it changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What came after the revision `seen`, in its order, and the revision now.
    pub fn changes_since(&self, seen: u64) -> (u64, StatusResponse) {
        let state = self.state();
        let newer = |at: u64| at > seen;
        let mut rows: Vec<_> = state.rows.values().filter(|(at, _)| newer(*at)).collect();
        rows.sort_unstable_by_key(|(at, _)| *at);
        let mut response = StatusResponse {
            statuses: rows.into_iter().map(|(_, row)| row.clone()).collect(),
            warnings: (state.warnings.iter())
                .filter(|(at, _)| newer(*at))
                .map(|(_, warning)| warning.clone())
                .collect(),
            ..Default::default()
        };
        if state.cache_vertex.changed_after(seen) || self.mentions_cache_vertex(&response) {
            response.vertexes.extend(self.cache_vertex_row(&state));
        }
        (state.revision, response)
    }

    /// When our own vertex completes if nothing more happens.
    pub fn idle_deadline(&self) -> Option<Instant> {
        self.state().cache_vertex.idle_deadline()
    }

    /// Completes our own vertex if nothing has happened for long enough; it starts again with what happens next.
    pub fn complete_if_idle(&self) {
        if self.idle_deadline().is_some_and(|at| at <= Instant::now()) {
            self.complete();
        }
    }

    /// Completes our own vertex.
    pub fn complete(&self) {
        let mut state = self.state();
        state.revision += 1;
        let revision = state.revision;
        state.cache_vertex.complete(revision);
        self.changes.send_replace(revision);
    }

    fn mentions_cache_vertex(&self, response: &StatusResponse) -> bool {
        let rows = response.statuses.iter().map(|row| &row.vertex);
        let warnings = response.warnings.iter().map(|warning| &warning.vertex);
        rows.chain(warnings)
            .any(|vertex| *vertex == self.cache_vertex)
    }

    fn cache_vertex_row(&self, state: &ProgressState) -> Option<Vertex> {
        let (started, completed) = state.cache_vertex.times()?;
        Some(Vertex {
            digest: self.cache_vertex.clone(),
            name: CACHE_VERTEX_NAME.into(),
            started: Some(started),
            completed,
            ..Default::default()
        })
    }

    /// Takes an event for the vertex `export`, or for our own where that has not started: clients drop
    /// what belongs to a vertex that they do not know.
    fn apply(&self, export: Option<&str>, event: Event) {
        let mut state = self.state();
        state.revision += 1;
        let vertex = match export {
            Some(vertex) if state.exports.get(vertex) == Some(&true) => vertex.to_owned(),
            _ => {
                let revision = state.revision;
                state.cache_vertex.record_event(revision);
                if let Event::Transfer(transfer) = &event {
                    let running = transfer.state == TransferState::Running;
                    state.cache_vertex.set_running(&transfer.key, running);
                }
                self.cache_vertex.clone()
            }
        };
        match event {
            Event::Warning { short, detail } => state.warn(vertex, &short, detail),
            Event::Note(text) => state.note(vertex, text),
            Event::Transfer(transfer) => state.progress(vertex, transfer),
        }
        self.changes.send_replace(state.revision);
    }

    fn state(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock()
    }
}

impl ProgressState {
    fn warn(&mut self, vertex: String, short: &str, detail: Vec<String>) {
        if self.warnings.len() >= MAX_WARNINGS {
            return;
        }
        // Clients show the details to those who ask for them; the first is worth more than that.
        let short = match detail.first() {
            Some(first) => format!("{short}: {first}"),
            None => short.to_owned(),
        };
        // Several jobs of a build may meet one cause.
        let known = |(_, warning): &(u64, VertexWarning)| warning.short == short.as_bytes();
        if self.warnings.iter().any(known) {
            return;
        }
        let warning = VertexWarning {
            vertex,
            level: 1,
            short: short.into_bytes(),
            detail: detail.into_iter().map(String::into_bytes).collect(),
            url: String::new(),
        };
        self.warnings.push((self.revision, warning));
    }

    fn note(&mut self, vertex: String, text: String) {
        let now = Some(SystemTime::now().into());
        let row = VertexStatus {
            id: text.clone(),
            vertex: vertex.clone(),
            timestamp: now,
            started: now,
            completed: now,
            ..Default::default()
        };
        let key = (vertex, RowKey::Note(text));
        self.rows.insert(key, (self.revision, row));
    }

    /// Clients show the id of a status, so it is the key's text.
    fn progress(&mut self, vertex: String, transfer: Transfer) {
        let now = Some(SystemTime::now().into());
        let id = transfer.key.to_string();
        let key = (vertex, RowKey::Transfer(transfer.key));
        let started = self.rows.get(&key).map_or(now, |(_, row)| row.started);
        let row = VertexStatus {
            id,
            vertex: key.0.clone(),
            current: transfer.current.try_into().unwrap_or(i64::MAX),
            total: transfer.total.try_into().unwrap_or(i64::MAX),
            timestamp: now,
            started,
            completed: now.filter(|_| transfer.state != TransferState::Running),
            ..Default::default()
        };
        self.rows.insert(key, (self.revision, row));
    }
}

/// Reports on BuildKit's vertex for an export.
#[derive(Clone)]
pub(super) struct ExportVertex {
    progress: Arc<BuildProgress>,
    vertex: String,
}

impl ExportVertex {
    /// Reports here, or on our own vertex as long as BuildKit has not started this one.
    pub fn reporter(&self) -> Arc<dyn Reporter> {
        Arc::new(self.clone())
    }

    /// Says that the export will take place: the vertex is ours.
    pub fn register(&self) {
        self.progress.export_vertices.add(&self.vertex);
        let mut state = self.progress.state();
        state.exports.insert(self.vertex.clone(), false);
    }
}

impl Reporter for ExportVertex {
    fn report(&self, event: Event) {
        log(&event);
        self.progress.apply(Some(&self.vertex), event);
    }

    fn step_at(&self, moment: Timestamp) -> Option<String> {
        self.progress.step_at(moment)
    }
}

/// Reports on our own vertex.
struct CacheVertexReporter(Arc<BuildProgress>);

impl Reporter for CacheVertexReporter {
    fn report(&self, event: Event) {
        log(&event);
        self.0.apply(None, event);
    }

    fn step_at(&self, moment: Timestamp) -> Option<String> {
        self.0.step_at(moment)
    }
}

/// The gateway's log has it too: not every build is watched.
fn log(event: &Event) {
    match event {
        Event::Warning { short, detail } => tracing::warn!(?detail, "{short}"),
        Event::Note(text) => tracing::info!("{text}"),
        Event::Transfer(_) => {}
    }
}
