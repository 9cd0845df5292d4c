//! The board of one build: what its cache jobs have to say, kept for whoever watches the build.
//!
//! Status streams come before, during and after the jobs, and more than one may watch, so the
//! board keeps the state and each stream reads from where it stands. Progress rows are kept once
//! per transfer, which bounds the board by the number of layers.

mod export_rows;
mod own_row;
mod steps;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

pub use export_rows::ExportRows;
use own_row::OwnRow;
use steps::Steps;

use crate::{
    cache::{Event, Reporter, Transfer, TransferState},
    digest::Digest,
    proto::control::{StatusResponse, Vertex, VertexStatus, VertexWarning},
};

/// What users of stock BuildKit read on the export's row.
const EXPORT_NAME: &str = "exporting to GitHub Actions Cache";

/// The row for what belongs to no row of BuildKit's: imports, and exports that were dropped.
const OWN_NAME: &str = "GitHub Actions Cache";

/// What the names of the rows begin with that BuildKit's `local` exporter shows for each blob that it
/// passes on, whether the cache has it or not. Rows of ours show what is uploaded.
const HANDED_OVER: &str = "writing ";

/// Warnings kept of one build. A build with more has one cause many times over.
const MAX_WARNINGS: usize = 200;

/// What is known of a build for those who watch it.
pub struct Board {
    own_vertex: String,
    /// Of all builds: BuildKit's history shows them again.
    export_rows: Arc<ExportRows>,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    now: u64,
    /// BuildKit's rows for exports of ours, and whether BuildKit has started them.
    exports: HashMap<String, bool>,
    /// BuildKit's names of imports that stand for others, and the names that users know.
    imports: HashMap<String, String>,
    own: OwnRow,
    steps: Steps,
    rows: BTreeMap<(String, String), (u64, VertexStatus)>,
    warnings: Vec<(u64, VertexWarning)>,
}

impl Board {
    /// The board of the build `build_ref`.
    pub fn new(build_ref: &str, export_rows: Arc<ExportRows>) -> Self {
        Self {
            own_vertex: Digest::of(format!("buildkit-gha-{build_ref}")).to_string(),
            export_rows,
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// BuildKit's row for the `index`-th cache export of a session. BuildKit derives the row's
    /// digest so (solver/llbsolver/export.go of v0.32.2; older ones have no row).
    pub fn export_row(self: &Arc<Self>, session: &str, index: usize) -> ExportRow {
        ExportRow {
            board: Arc::clone(self),
            vertex: Digest::of(format!("{session}-cache-{index}")).to_string(),
        }
    }

    /// A reporter for everything that has no row of BuildKit's.
    pub fn reporter(self: &Arc<Self>) -> Arc<dyn Reporter> {
        Arc::new(OwnReporter(Arc::clone(self)))
    }

    /// Warns people that something was lost.
    pub fn warn(&self, short: String, detail: Vec<String>) {
        let event = Event::Warning { short, detail };
        log(&event);
        self.take(None, event);
    }

    /// BuildKit shows the row `vertex` under the name `name`: the name that it should have, if it is
    /// one of ours. An export's has begun now.
    pub fn rename(&self, vertex: &str, name: &str) -> Option<String> {
        let mut state = self.state();
        if let Some(begun) = state.exports.get_mut(vertex) {
            *begun = true;
        } else if !self.export_rows.contains(vertex) {
            return state.imports.get(name).cloned();
        }
        Some(EXPORT_NAME.to_owned())
    }

    /// BuildKit says this of a vertex.
    pub fn saw(&self, vertex: &Vertex) {
        self.state().steps.saw(vertex);
    }

    fn step_at(&self, moment: Timestamp) -> Option<String> {
        self.state().steps.at(moment).map(str::to_owned)
    }

    /// Gives a row of BuildKit's for an import the name that users know.
    pub fn rename_import(&self, from: String, to: String) {
        self.state().imports.insert(from, to);
    }

    /// True if the row `id` below `vertex` says what a row of ours says better.
    pub fn replaces(&self, vertex: &str, id: &str) -> bool {
        id.starts_with(HANDED_OVER) && self.state().exports.contains_key(vertex)
    }

    /// Told of every change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All that came after `seen`, in its order, and where the board stands now.
    pub fn since(&self, seen: u64) -> (u64, StatusResponse) {
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
        if state.own.changed_after(seen) || self.mentions_own(&response) {
            response.vertexes.extend(self.own_vertex(&state));
        }
        (state.now, response)
    }

    /// When our own row ends if nothing more happens.
    pub fn quiet_at(&self) -> Option<Instant> {
        self.state().own.quiet_at()
    }

    /// Ends our own row if it has been quiet for long enough; it begins again with what happens next.
    pub fn end_if_quiet(&self) {
        if self.quiet_at().is_some_and(|at| at <= Instant::now()) {
            self.end();
        }
    }

    /// Ends our own row.
    pub fn end(&self) {
        let mut state = self.state();
        state.now += 1;
        let now = state.now;
        state.own.end(now);
        self.changes.send_replace(now);
    }

    fn mentions_own(&self, response: &StatusResponse) -> bool {
        let rows = response.statuses.iter().map(|row| &row.vertex);
        let warnings = response.warnings.iter().map(|warning| &warning.vertex);
        rows.chain(warnings)
            .any(|vertex| *vertex == self.own_vertex)
    }

    fn own_vertex(&self, state: &State) -> Option<Vertex> {
        let (started, completed) = state.own.times()?;
        Some(Vertex {
            digest: self.own_vertex.clone(),
            name: OWN_NAME.into(),
            started: Some(started),
            completed,
            ..Default::default()
        })
    }

    /// Takes an event for the row `export`, or for our own where that row has not begun: a viewer
    /// drops what belongs to a row that it does not know.
    fn take(&self, export: Option<&str>, event: Event) {
        let mut state = self.state();
        state.now += 1;
        let vertex = match export {
            Some(vertex) if state.exports.get(vertex) == Some(&true) => vertex.to_owned(),
            _ => {
                let now = state.now;
                state.own.event(now);
                if let Event::Transfer(transfer) = &event {
                    let running = transfer.state == TransferState::Running;
                    state.own.under_way(&transfer.name, running);
                }
                self.own_vertex.clone()
            }
        };
        match event {
            Event::Warning { short, detail } => state.warn(vertex, &short, detail),
            Event::Note(text) => state.note(vertex, text),
            Event::Transfer(transfer) => state.progress(vertex, transfer),
        }
        self.changes.send_replace(state.now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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
        self.warnings.push((self.now, warning));
    }

    fn note(&mut self, vertex: String, text: String) {
        let now = Some(SystemTime::now().into());
        let row = VertexStatus {
            id: text,
            vertex,
            timestamp: now,
            started: now,
            completed: now,
            ..Default::default()
        };
        self.put(row);
    }

    /// Viewers show the id of a row, so the name is the id.
    fn progress(&mut self, vertex: String, transfer: Transfer) {
        let now = Some(SystemTime::now().into());
        let key = (vertex, transfer.name);
        let started = self.rows.get(&key).map_or(now, |(_, row)| row.started);
        let row = VertexStatus {
            id: key.1,
            vertex: key.0,
            current: transfer.current.try_into().unwrap_or(i64::MAX),
            total: transfer.total.try_into().unwrap_or(i64::MAX),
            timestamp: now,
            started,
            completed: now.filter(|_| transfer.state != TransferState::Running),
            ..Default::default()
        };
        self.put(row);
    }

    fn put(&mut self, row: VertexStatus) {
        let key = (row.vertex.clone(), row.id.clone());
        self.rows.insert(key, (self.now, row));
    }
}

/// Reports on BuildKit's row for an export.
#[derive(Clone)]
pub struct ExportRow {
    board: Arc<Board>,
    vertex: String,
}

impl ExportRow {
    /// Reports here, or on our own row as long as BuildKit has not begun this one.
    pub fn reporter(&self) -> Arc<dyn Reporter> {
        Arc::new(self.clone())
    }

    /// Says that the export will take place: the row is ours.
    pub fn expect(&self) {
        self.board.export_rows.add(&self.vertex);
        let mut state = self.board.state();
        state.exports.insert(self.vertex.clone(), false);
    }
}

impl Reporter for ExportRow {
    fn report(&self, event: Event) {
        log(&event);
        self.board.take(Some(&self.vertex), event);
    }

    fn step_at(&self, moment: Timestamp) -> Option<String> {
        self.board.step_at(moment)
    }
}

/// Reports on our own row.
struct OwnReporter(Arc<Board>);

impl Reporter for OwnReporter {
    fn report(&self, event: Event) {
        log(&event);
        self.0.take(None, event);
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
