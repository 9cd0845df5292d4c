//! What is known of a build: everything is kept with the revision that it came with.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use super::{
    cache_vertex::CacheVertex,
    export_rows::{ExportRows, Place},
    job_rows::JobRows,
    live::LiveNames,
    rows::Rows,
    sources::{SourceLines, Sources},
    steps::Steps,
    warnings::{HeldWarning, Warnings},
};
use crate::{
    cache::Event,
    digest::Digest,
    proto::control::{StatusResponse, Vertex, VertexWarning},
};

/// The name that an export's vertex has with stock BuildKit's `gha`.
pub(super) const EXPORT_NAME: &str = "exporting to GitHub Actions Cache";

/// The vertex for what belongs to none of BuildKit's: imports, and exports that were dropped.
const CACHE_VERTEX_NAME: &str = "GitHub Actions Cache";

pub(super) struct ProgressState {
    /// Counts changes.
    revision: u64,
    /// The digest of our own vertex.
    own: String,
    cache_vertex: CacheVertex,
    own_rows: JobRows,
    /// The exports of ours, by BuildKit's vertices for them.
    exports: HashMap<String, ExportRows>,
    /// BuildKit's names of imports that stand for others, and the names that users know.
    imports: HashMap<String, String>,
    rows: Rows,
    names: LiveNames,
    pub warnings: Warnings,
    pub steps: Steps,
    pub sources: Sources,
    /// A vertex that buildkitd has told of, for what belongs to none.
    any_vertex: Option<String>,
    /// BuildKit's vertex for an import of ours.
    import_vertex: Option<String>,
}

impl ProgressState {
    /// Nothing is known of a build whose vertex of ours has the digest `own`.
    pub fn new(own: String) -> Self {
        Self {
            revision: 0,
            own,
            cache_vertex: CacheVertex::default(),
            own_rows: JobRows::default(),
            exports: HashMap::new(),
            imports: HashMap::new(),
            rows: Rows::default(),
            names: LiveNames::default(),
            warnings: Warnings::default(),
            steps: Steps::default(),
            sources: Sources::default(),
            any_vertex: None,
            import_vertex: None,
        }
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn add_export(&mut self, vertex: &str) {
        self.exports.entry(vertex.to_owned()).or_default();
    }

    pub fn has_export(&self, vertex: &str) -> bool {
        self.exports.contains_key(vertex)
    }

    pub fn add_import_name(&mut self, from: String, to: String) {
        self.imports.insert(from, to);
    }

    /// The name that users know of an import of ours.
    pub fn import_name(&mut self, vertex: &Vertex) -> Option<String> {
        let name = self.imports.get(&vertex.name)?.clone();
        self.import_vertex = Some(vertex.digest.clone());
        Some(name)
    }

    pub fn record_vertex(&mut self, vertex: &Vertex) {
        if self.any_vertex.is_none() && vertex.started.is_some() {
            self.any_vertex = Some(vertex.digest.clone());
        }
        self.steps.record(vertex);
    }

    /// Whether an export of ours has not ended.
    pub fn awaits_export(&self) -> bool {
        self.exports.values().any(|export| !export.ended)
    }

    /// The warnings that are held, each with the vertex where buildkitd has it and its lines.
    pub fn take_warnings(&mut self) -> Vec<(HeldWarning, String, Option<SourceLines>)> {
        let held = self.warnings.take_held();
        let located = held.into_iter().map(|held| {
            let vertex = self.vertex_for(&held);
            let lines = self.sources.lines(&held.warning.steps);
            (held, vertex, lines)
        });
        located.collect()
    }

    /// A vertex that buildkitd knows: clients show no warning of another one.
    fn vertex_for(&self, held: &HeldWarning) -> String {
        let export = held.vertex.as_ref();
        let export = export.filter(|vertex| self.exports.contains_key(*vertex));
        // BuildKit makes the digest of the name (inBuilderContext in solver/llbsolver/solver.go).
        let import = || Some(Digest::sha256(self.imports.keys().next()?).to_string());
        let known = export
            .or(self.import_vertex.as_ref())
            .or(self.any_vertex.as_ref());
        known
            .cloned()
            .or_else(import)
            .unwrap_or_else(|| self.own.clone())
    }

    /// BuildKit tells of a vertex. True if it is that of an export, and what waited for it is shown now.
    pub fn record_export(&mut self, vertex: &Vertex) -> bool {
        let Some(export) = self.exports.get_mut(&vertex.digest) else {
            return false;
        };
        if !export.record(vertex) {
            return false;
        }
        for event in export.take_held() {
            self.show(&vertex.digest, &event);
        }
        true
    }

    /// Takes an event of the export with this vertex, or of what has no vertex of BuildKit's.
    pub fn apply(&mut self, export: Option<&str>, event: Event, now: Instant) {
        if let Event::Warning(warning) = event {
            let vertex = export.map(str::to_owned);
            return self.warnings.hold(HeldWarning { vertex, warning });
        }
        let known = export.and_then(|vertex| Some((vertex, self.exports.get_mut(vertex)?)));
        let Some((vertex, export)) = known else {
            return self.show_own(&event);
        };
        export.ended |= matches!(event, Event::ExportSummary(_));
        match export.place(now) {
            Place::Here => self.show(vertex, &event),
            Place::OwnVertex => self.show_own(&event),
            Place::Held => export.hold(event),
        }
    }

    /// Shows an event below BuildKit's vertex for an export.
    fn show(&mut self, vertex: &str, event: &Event) {
        let export = self.exports.get_mut(vertex);
        let rows = export.map(|export| export.rows.update(event));
        for row in rows.into_iter().flatten() {
            self.revision += 1;
            self.rows.put(self.revision, vertex, row);
        }
    }

    /// Shows an event below our own vertex.
    fn show_own(&mut self, event: &Event) {
        for row in self.own_rows.update(event) {
            self.revision += 1;
            self.cache_vertex.record_event(self.revision);
            self.cache_vertex.set_running(&row.text, !row.done);
            self.rows.put(self.revision, &self.own, row);
        }
    }

    /// Lets names count, and shows elsewhere what has waited for a vertex for too long.
    pub fn refresh(&mut self, now: Instant) {
        self.give_up_vertices(|export| export.deadline().is_some_and(|at| at <= now));
        let exports = self.exports.iter();
        let exports = exports.filter(|(_, export)| export.at_work_since().is_some());
        let ends = exports.map(|(vertex, export)| (vertex.clone(), export.rows.live_text(now)));
        let own = self.cache_vertex.is_open();
        let own = own.then(|| (self.own.clone(), self.own_rows.live_text(now)));
        let revision = self.revision + 1;
        if self.rows.refresh(revision, now) {
            self.revision = revision;
        }
        if self.names.refresh(revision, now, ends.chain(own)) {
            self.revision = revision;
            self.show_waits_again();
        }
    }

    /// Plain progress prints a row that goes on from time to time, if it has changed.
    fn show_waits_again(&mut self) {
        let own = self.own_rows.waits().map(|row| (&self.own, row));
        let exports = self.exports.iter().flat_map(|(vertex, export)| {
            let waits = export.rows.waits();
            waits.map(move |row| (vertex, row))
        });
        for (vertex, row) in own.chain(exports) {
            self.rows.put(self.revision, vertex, row);
        }
    }

    fn give_up_vertices(&mut self, is_late: impl Fn(&ExportRows) -> bool) {
        let late = self.exports.values_mut().filter(|export| is_late(export));
        let held = late.flat_map(|export| {
            export.give_up();
            export.take_held()
        });
        for event in held.collect::<Vec<_>>() {
            self.show_own(&event);
        }
    }

    /// What came after the revision `seen`, in its order.
    pub fn changes_since(&self, seen: u64) -> StatusResponse {
        let mut response = StatusResponse {
            statuses: self.rows.changed_since(seen),
            warnings: self.warnings.changed_since(seen),
            ..Default::default()
        };
        let names = self.names.changed_since(seen);
        (response.vertexes).extend(names.filter_map(|vertex| self.export_row(vertex)));
        if self.cache_vertex.changed_after(seen)
            || self
                .names
                .changed_since(seen)
                .any(|vertex| *vertex == self.own)
            || self.mentions_cache_vertex(&response)
        {
            response.vertexes.extend(self.cache_vertex_row());
        }
        response
    }

    fn mentions_cache_vertex(&self, response: &StatusResponse) -> bool {
        let rows = response.statuses.iter().map(|row| &row.vertex);
        let warnings = response.warnings.iter().map(|warning| &warning.vertex);
        rows.chain(warnings).any(|vertex| *vertex == self.own)
    }

    /// BuildKit's vertex for an export, as it was told, with the name that it has now.
    fn export_row(&self, vertex: &str) -> Option<Vertex> {
        let started = self.exports.get(vertex)?.at_work_since()?;
        Some(Vertex {
            digest: vertex.to_owned(),
            name: self.live_name(EXPORT_NAME, vertex),
            started: Some(started),
            ..Default::default()
        })
    }

    fn cache_vertex_row(&self) -> Option<Vertex> {
        let (started, completed) = self.cache_vertex.times()?;
        let name = match completed {
            Some(_) => CACHE_VERTEX_NAME.to_owned(),
            None => self.live_name(CACHE_VERTEX_NAME, &self.own),
        };
        Some(Vertex {
            digest: self.own.clone(),
            name,
            started: Some(started),
            completed,
            ..Default::default()
        })
    }

    fn live_name(&self, name: &str, vertex: &str) -> String {
        match self.names.end_of(vertex) {
            Some(end) => format!("{name} ({end})"),
            None => name.to_owned(),
        }
    }

    /// When something changes by itself.
    pub fn deadline(&self) -> Option<Instant> {
        let held = self.exports.values().filter_map(ExportRows::deadline);
        let idle = self.cache_vertex.idle_deadline();
        let shown = self.names.next().into_iter().chain(self.rows.next());
        held.chain(idle).chain(shown).min()
    }

    /// Completes our own vertex if nothing has happened for long enough; it starts again with what happens next.
    pub fn complete_if_idle(&mut self, now: Instant) {
        if self
            .cache_vertex
            .idle_deadline()
            .is_some_and(|at| at <= now)
        {
            self.complete();
        }
    }

    fn complete(&mut self) {
        self.revision += 1;
        self.cache_vertex.complete(self.revision);
    }

    /// Shows all that waits, and completes our own vertex.
    pub fn finish(&mut self) {
        self.give_up_vertices(|_| true);
        for (held, _, lines) in self.take_warnings() {
            self.show_warning(&held, lines);
        }
        self.complete();
    }

    /// Shows a warning below our own vertex: others have completed, and plain progress prints a warning with
    /// the next event of its vertex.
    pub fn show_warning(&mut self, held: &HeldWarning, lines: Option<SourceLines>) {
        self.revision += 1;
        self.cache_vertex.record_event(self.revision);
        let warning = held.on_vertex(self.own.clone(), lines);
        self.warnings.show(self.revision, warning);
    }

    /// What buildkitd has taken to show and somebody has not seen, whose stream ends now.
    pub fn unseen_warnings(&mut self, seen: &HashSet<Vec<u8>>) -> StatusResponse {
        let handed_over = self.warnings.handed_over().iter();
        let unseen = handed_over.filter(|warning| !seen.contains(&warning.short));
        let warnings: Vec<_> = unseen
            .map(|warning| VertexWarning {
                vertex: self.own.clone(),
                ..warning.clone()
            })
            .collect();
        if warnings.is_empty() {
            return StatusResponse::default();
        }
        self.revision += 1;
        self.cache_vertex.record_event(self.revision);
        self.complete();
        StatusResponse {
            vertexes: self.cache_vertex_row().into_iter().collect(),
            warnings,
            ..Default::default()
        }
    }
}
