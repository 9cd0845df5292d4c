//! What the last builds did, for `stats`.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::counters::BuildCounters;
use crate::{
    cache::{
        Event, ExportEnd, ExportSummary, ImportSummary, NoIndex, Warning,
        steps::{BuildSteps, StepSummary},
    },
    stats,
};

/// Builds that are kept: a job has a few, a shared builder some hundred a day. They take some 5 MB at
/// most, by the bounds below.
const MAX_BUILDS: usize = 100;

/// What is kept of one build. The build's log has all.
const MAX_MISSED: usize = 100;
const MAX_CACHES: usize = 50;
const MAX_WARNINGS: usize = 50;
const MAX_TEXT_CHARS: usize = 500;

/// The last builds, the newest last.
#[derive(Default)]
pub(super) struct BuildRecords(Mutex<VecDeque<Arc<BuildRecord>>>);

impl BuildRecords {
    /// Keeps one more.
    pub fn add(&self, record: &Arc<BuildRecord>) {
        let mut records = self.0.lock();
        // A client may begin a build again under its ref.
        records.retain(|known| !Arc::ptr_eq(known, record));
        if records.len() >= MAX_BUILDS {
            records.pop_front();
        }
        records.push_back(Arc::clone(record));
    }

    /// What is known of them now, the newest first.
    pub fn builds(&self) -> Vec<stats::Build> {
        let records: Vec<_> = self.0.lock().iter().rev().cloned().collect();
        records.iter().map(|record| record.build()).collect()
    }
}

/// What one build did. It is written to until its last job has ended, which may be after the build.
pub(super) struct BuildRecord {
    steps: Weak<BuildSteps>,
    counters: BuildCounters,
    state: Mutex<State>,
}

struct State {
    /// `None`: its Solve has not come.
    began: Option<Instant>,
    /// Which of its warnings tells of which cause: a later one says all that it does.
    causes: HashMap<&'static str, usize>,
    build: stats::Build,
}

impl BuildRecord {
    /// A build that may begin.
    pub fn new(reference: &str, steps: &Arc<BuildSteps>, counters: BuildCounters) -> Self {
        let build = stats::Build {
            reference: reference.to_owned(),
            started: Timestamp::now(),
            duration_seconds: None,
            outcome: None,
            steps: None,
            imports: Vec::new(),
            exports: Vec::new(),
            missed: Vec::new(),
            warnings: Vec::new(),
        };
        Self {
            steps: Arc::downgrade(steps),
            counters,
            state: Mutex::new(State {
                began: None,
                causes: HashMap::new(),
                build,
            }),
        }
    }

    /// Its Solve has come.
    pub fn begin(&self) {
        let mut state = self.state.lock();
        state.began = Some(Instant::now());
        state.build.started = Timestamp::now();
        state.build.duration_seconds = None;
        state.build.outcome = None;
    }

    /// Whether its Solve has come.
    pub fn has_begun(&self) -> bool {
        self.state.lock().began.is_some()
    }

    /// Its Solve has ended. Only the first call counts.
    pub fn end(&self, outcome: stats::Outcome) {
        let mut state = self.state.lock();
        if state.build.outcome.is_none() {
            state.build.outcome = Some(outcome);
            let duration = state.began.map(|began| began.elapsed());
            state.build.duration_seconds = duration.map(|duration| duration.as_secs_f64());
            // What BuildKit builds for its own ends has not begun here, and is no build of anybody's.
            duration.inspect(|duration| self.counters.build(outcome, *duration));
        }
    }

    /// A job of it has something to say.
    pub fn apply(&self, event: &Event) {
        match event {
            Event::Warning(warning) => self.warn(warning),
            Event::ExportSummary(summary) => self.add_export(summary),
            Event::ImportSummary(summary) => {
                self.counters.import(summary);
                let imports = &mut self.state.lock().build.imports;
                if imports.len() < MAX_CACHES {
                    imports.push(import(summary));
                }
            }
            Event::Note(_)
            | Event::Transfer(_)
            | Event::Wait(_)
            | Event::LastLayers { .. }
            | Event::Indexes { .. } => {}
        }
    }

    /// An import of it was not begun.
    pub fn skip_import(&self) {
        self.counters.skipped_import();
    }

    /// Keeps a warning with its first line of detail, as clients show it.
    fn warn(&self, warning: &Warning) {
        let text = match warning.detail.first() {
            Some(first) => format!("{}: {first}", warning.short),
            None => warning.short.clone(),
        };
        let text: String = text.chars().take(MAX_TEXT_CHARS).collect();
        let state = &mut *self.state.lock();
        let warnings = &mut state.build.warnings;
        let known = warning.cause.and_then(|cause| state.causes.get(cause));
        if let Some(known) = known {
            warnings[*known] = text;
        } else if warnings.len() < MAX_WARNINGS && !warnings.contains(&text) {
            let causes = warning.cause.into_iter();
            (state.causes).extend(causes.map(|cause| (cause, warnings.len())));
            warnings.push(text);
        }
    }

    /// An export that was pending has come to its end, or it is another one.
    fn add_export(&self, summary: &ExportSummary) {
        let export = export(summary);
        let exports = &mut self.state.lock().build.exports;
        let pending = exports.iter().position(|known| {
            known.scope == export.scope && known.state == stats::ExportState::Pending
        });
        self.counters.export(summary.state, pending.is_some());
        match pending {
            Some(at) => exports[at] = export,
            None if exports.len() < MAX_CACHES => exports.push(export),
            None => {}
        }
    }

    /// What its steps came to so far.
    pub fn set_steps(&self, summary: &StepSummary) {
        let saved = summary.known_saved();
        let mut state = self.state.lock();
        state.build.steps = Some(stats::Steps {
            total: summary.total,
            cached: summary.cached,
            time_saved_seconds: saved.map(|saved| saved.as_secs_f64()),
        });
        let missed = summary.missed.iter().take(MAX_MISSED);
        let missed = missed.map(|missed| stats::Missed {
            step: missed.step.clone(),
            reason: missed.reason_text(),
        });
        state.build.missed = missed.collect();
    }

    fn build(&self) -> stats::Build {
        if let Some(summary) = self.steps.upgrade().and_then(|steps| steps.summary()) {
            self.set_steps(&summary);
        }
        self.state.lock().build.clone()
    }
}

fn import(summary: &ImportSummary) -> stats::Import {
    let mut indexes = summary.indexes.iter();
    let found = indexes.find_map(|index| Some((index, index.found.as_ref().ok()?)));
    let index = match found {
        Some((index, found)) => stats::Index {
            found: true,
            branch: Some(index.branch.clone()),
            created: found.created,
            reason: None,
        },
        None => stats::Index {
            reason: summary.no_index().map(no_index),
            ..stats::Index::default()
        },
    };
    stats::Import {
        scope: summary.scope.clone(),
        index: Some(index),
        layers_confirmed: Some(summary.layers_confirmed as u64),
        layers_gone: Some(summary.layers_gone as u64),
        layers_fetched: Some(summary.layers_fetched as u64),
        bytes_fetched: Some(summary.bytes_fetched),
        duration_seconds: Some(summary.duration.as_secs_f64()),
    }
}

fn no_index(reason: NoIndex) -> stats::NoIndex {
    match reason {
        NoIndex::Absent => stats::NoIndex::Absent,
        NoIndex::Unusable => stats::NoIndex::Unusable,
        NoIndex::Failed => stats::NoIndex::Failed,
        NoIndex::Late => stats::NoIndex::Late,
    }
}

fn export(summary: &ExportSummary) -> stats::Export {
    let state = match summary.state {
        ExportEnd::Written => stats::ExportState::Written,
        ExportEnd::Unchanged => stats::ExportState::Unchanged,
        ExportEnd::Pending => stats::ExportState::Pending,
        ExportEnd::Cancelled | ExportEnd::Failed => stats::ExportState::Failed,
        ExportEnd::Skipped => stats::ExportState::Skipped,
    };
    // What is there already and what is left out is known once all layers are confirmed or have failed.
    let settled = |layers: usize| (summary.state != ExportEnd::Pending).then_some(layers as u64);
    stats::Export {
        scope: summary.scope.clone(),
        state,
        layers_sent: Some(summary.layers_sent as u64),
        layers_present: settled(summary.layers_present),
        layers_left_out: settled(summary.layers_left_out),
        bytes_sent: Some(summary.bytes_sent),
        calls: Some(summary.usage.calls),
        waited_seconds: Some(summary.usage.waited.as_secs_f64()),
        duration_seconds: Some(summary.duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests;
