//! The steps of one build: when they ran, what the indexes of its imports say of them, and what follows
//! from both.
//!
//! The gateway feeds a [`BuildSteps`] with what passes: definitions ([`BuildSteps::define`]) and vertices
//! ([`BuildSteps::record`]). Imports say what they have loaded and which layers are not there. An export
//! takes the table for its index from it ([`BuildSteps::table`]), and the build's log and `stats` what the
//! cache was worth ([`BuildSteps::summary`]).
//!
//! | part | what |
//! |---|---|
//! | `run` | when one step ran |
//! | `known_index` | what one index says of steps, and its layers |
//! | `attribution`, `table` | which layer is whose; the table of the next index |
//! | `misses` | why steps were not cached |
//! | `summary` | what the cache was worth, in words |

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;

mod attribution;
mod known_index;
mod misses;
mod run;
mod summary;
mod table;

pub(super) use attribution::StepLayers;
pub use known_index::LayerFault;
pub(super) use known_index::{KnownIndex, LoadedSteps};
pub use misses::{Missed, Reason};
pub use run::VertexTimes;
pub use summary::StepSummary;

use self::run::StepRun;
use super::{
    attributes::Mode,
    index_format::{CacheConfig, MAX_STEPS, StepKey, StepTable},
};
use crate::digest::Digest;

/// What is remembered of a step's name: a RUN may be a whole script.
const MAX_NAME_CHARS: usize = 80;

/// Layers that are remembered as asked for. Indexes have hundreds; the bound is for those that are made to
/// cost memory, and above it reasons are no longer known.
const MAX_ASKED: usize = 100_000;

/// What a definition says of one of its operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepDefinition {
    /// The vertex of this build.
    pub vertex: Digest,
    /// The same in all builds.
    pub key: StepKey,
    /// The vertices that it stands upon.
    pub inputs: Vec<Digest>,
    /// What it is.
    pub kind: StepKind,
    /// The build does not want it from a cache (`--no-cache`).
    pub ignores_cache: bool,
}

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// An image: what it holds is said by its definition.
    Image,
    /// A build context, a repository, a download: its content may differ under one definition.
    Content,
    /// Something that the build does.
    Step,
}

/// The steps of one build. Its reporters, its Status streams and its jobs share it.
#[derive(Default)]
pub struct BuildSteps(Mutex<State>);

#[derive(Default)]
struct State {
    definitions: HashMap<Digest, StepDefinition>,
    /// The vertices in the order of their definitions.
    order: Vec<Digest>,
    /// The definitions had more steps than are kept.
    truncated: bool,
    runs: HashMap<Digest, StepRun>,
    /// How many indexes the imports read; what was read of them so far.
    expected: usize,
    loaded: Vec<LoadedSteps>,
    /// The build went on before an index was there.
    late: bool,
    faults: HashMap<Digest, LayerFault>,
    found: HashSet<Digest>,
    /// What the newest index of an export said, for builds that import nothing.
    previous: Vec<Arc<StepTable>>,
}

impl BuildSteps {
    /// Takes what a definition says. Builds for several platforms have several.
    pub fn define(&self, definitions: Vec<StepDefinition>) {
        let mut state = self.0.lock();
        for definition in definitions {
            if state.definitions.contains_key(&definition.vertex) {
                continue;
            }
            if state.order.len() >= MAX_STEPS {
                state.truncated = true;
                return;
            }
            state.order.push(definition.vertex);
            state.definitions.insert(definition.vertex, definition);
        }
    }

    /// Takes what a Status stream says of a vertex; several streams say the same.
    pub fn record(&self, vertex: Digest, name: &str, times: VertexTimes) {
        let mut state = self.0.lock();
        let known = state.runs.len();
        if let Some(run) = state.runs.get_mut(&vertex) {
            run.update(times);
        } else if known < MAX_STEPS && times.started.is_some() {
            let mut run = StepRun::new(short(name));
            run.update(times);
            state.runs.insert(vertex, run);
        }
    }

    /// An import is going to load so many indexes.
    pub(super) fn expect_indexes(&self, indexes: usize) {
        self.0.lock().expected += indexes;
    }

    /// An import has loaded an index, or knows that there is none.
    pub(super) fn index_loaded(&self, loaded: LoadedSteps) {
        self.0.lock().loaded.push(loaded);
    }

    /// The build goes on before its indexes are loaded: buildkitd finds none.
    pub fn index_is_late(&self) {
        self.0.lock().late = true;
    }

    /// A layer that buildkitd wanted is there.
    pub(super) fn layer_found(&self, layer: Digest) {
        let mut state = self.0.lock();
        if state.found.len() < MAX_ASKED {
            state.found.insert(layer);
        }
    }

    /// A layer that buildkitd wanted cannot be used.
    pub(super) fn layer_unavailable(&self, layer: Digest, fault: LayerFault) {
        let mut state = self.0.lock();
        if state.faults.len() < MAX_ASKED {
            state.faults.insert(layer, fault);
        }
    }

    /// What an export that BuildKit describes so has of the steps.
    pub(super) fn layers(&self, described: &CacheConfig) -> StepLayers {
        let ran = self.0.lock().ran();
        attribution::attribute(&ran, described)
    }

    /// The table for an index that an export of this build writes in place of one with the table
    /// `previous`. `None` where no definition of the build is known.
    pub(super) fn table(
        &self,
        mode: Mode,
        layers: &StepLayers,
        previous: Option<&Arc<StepTable>>,
    ) -> Option<StepTable> {
        let mut state = self.0.lock();
        if let Some(previous) = previous
            && !state.previous.contains(previous)
        {
            state.previous.push(Arc::clone(previous));
        }
        state.table(mode, layers)
    }

    /// What the cache was worth so far. `None` where nobody watches the build.
    pub fn summary(&self) -> Option<StepSummary> {
        self.0.lock().summary()
    }
}

impl State {
    /// Whether a vertex is a step as people know it: one that a definition has, or, without any
    /// definition, one whose name is that of a Dockerfile's step.
    fn is_step(&self, vertex: &Digest, run: &StepRun) -> bool {
        if run.name.starts_with("[internal]") {
            return false;
        }
        match self.definitions.get(vertex) {
            Some(definition) => definition.kind == StepKind::Step,
            None => {
                self.definitions.is_empty()
                    && run.name.starts_with('[')
                    && !run.name.contains("] FROM ")
            }
        }
    }

    /// Whether the step was taken from a cache. Only an operation that stands upon nothing is shown when it
    /// is asked for its key.
    fn is_cached(&self, vertex: &Digest, run: &StepRun) -> bool {
        let definition = self.definitions.get(vertex);
        run.is_cached(definition.is_some_and(|step| step.inputs.is_empty()))
    }

    fn tables(&self) -> impl Iterator<Item = &StepTable> {
        let loaded = self.loaded.iter().filter_map(LoadedSteps::table);
        loaded.chain(self.previous.iter().map(AsRef::as_ref))
    }
}

fn short(name: &str) -> Box<str> {
    match name.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests;
