//! Why steps were not taken from the cache, as far as it is known.
//!
//! An index names keys, and a key says nothing of its step. So a reason follows from what is certain: the
//! step's own definition and those below it (the same as in the index, or not), whether the index has the
//! step's result, whether its layers are there, and which steps before it ran. A step whose definition is
//! in the index with a result that can be used has run because BuildKit came to another key; and with the
//! same definitions, keys differ by content alone.

use std::{collections::HashMap, fmt};

use super::{
    LayerFault, State, StepDefinition, StepKind,
    known_index::{KnownIndex, LoadedSteps},
};
use crate::{
    cache::{
        attributes::Mode,
        index_format::{StepEntry, StepLayer},
    },
    digest::Digest,
};

/// A step that ran although the build imports a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The step, in the words of the build's log.
    pub step: String,
    /// Why, if that is known.
    pub reason: Option<Reason>,
}

/// Why a step was not taken from the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No index was found.
    NoIndex,
    /// No index could be read.
    UnusableIndex,
    /// The build did not wait for the index any longer.
    LateIndex,
    /// The build did not want it from a cache.
    NotWanted,
    /// Its definition is not in the index, and those that it stands upon are.
    Command,
    /// The definition of something that it stands upon is not in the index.
    DefinitionBefore,
    /// The files that it takes from a build context, a repository or a download are others.
    Content,
    /// They are others, or those of a step before it.
    ContentOrBefore,
    /// A step before it has come to something else.
    ContentBefore,
    /// The export that wrote the index had no result of it, with this mode.
    NotExported(&'static str),
    /// Its layer was left out of the index, when it was written or since.
    LeftOut,
    /// Its layer cannot be used.
    Layer(LayerFault),
    /// A layer that its own stands upon cannot be used.
    LayerBelow(LayerFault),
}

impl Reason {
    /// Whether another step of the same build ran for this one to run.
    pub fn follows(&self) -> bool {
        matches!(
            self,
            Self::DefinitionBefore | Self::ContentBefore | Self::LayerBelow(_)
        )
    }

    /// Whether it holds for the whole build.
    pub fn is_of_build(&self) -> bool {
        matches!(self, Self::NoIndex | Self::UnusableIndex | Self::LateIndex)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NoIndex => "no cache index was found",
            Self::UnusableIndex => "the cache index could not be read",
            Self::LateIndex => "the cache index did not arrive in time",
            Self::NotWanted => "the build asked for it to run (no-cache)",
            Self::Command => "its command is new or has changed",
            Self::DefinitionBefore => "a step before it, or its base image, has changed",
            Self::Content => "its content changed",
            Self::ContentOrBefore => "its content or that of a step before it changed",
            Self::ContentBefore => "a step before it changed",
            Self::NotExported(mode) => return write!(f, "it was not exported (mode={mode})"),
            Self::LeftOut => "its layer was left out of the cache index",
            Self::Layer(fault) => return write!(f, "its layer {}", fault.text()),
            Self::LayerBelow(fault) => {
                return write!(f, "a layer that it builds on {}", fault.text());
            }
        };
        f.write_str(text)
    }
}

impl LayerFault {
    fn text(self) -> &'static str {
        match self {
            Self::Gone => "is gone from the cache",
            Self::Damaged => "is damaged in the cache",
            Self::Unreachable => "could not be had from the cache",
        }
    }
}

/// What the indexes have of a step's result.
enum Result {
    /// It could be used.
    Usable,
    /// It could not.
    Unusable(Reason),
    /// Nobody knows.
    Unknown,
}

impl State {
    /// The steps that ran, in the order of their definitions, and why.
    pub(super) fn missed(&self) -> Vec<Missed> {
        if self.expected == 0 {
            return Vec::new();
        }
        let of_build = self.reason_of_build();
        let mut missed: Vec<_> = (self.runs.iter())
            .filter(|(vertex, run)| self.is_step(vertex, run) && !self.is_cached(vertex, run))
            .collect();
        let places: HashMap<_, _> = self.order.iter().zip(0_usize..).collect();
        missed.sort_by_cached_key(|(vertex, run)| (places.get(vertex), run.first_started()));
        let missed = missed.into_iter().map(|(vertex, run)| Missed {
            step: run.name.to_string(),
            reason: of_build.clone().or_else(|| self.reason(vertex)),
        });
        missed.collect()
    }

    fn reason_of_build(&self) -> Option<Reason> {
        // It may have come before buildkitd asked for it.
        let late = self.late && self.found.is_empty();
        if late || self.loaded.len() < self.expected {
            return Some(Reason::LateIndex);
        }
        if self.indexes().next().is_some() {
            return None;
        }
        let unusable = |loaded: &LoadedSteps| matches!(loaded, LoadedSteps::Unusable);
        Some(if self.loaded.iter().any(unusable) {
            Reason::UnusableIndex
        } else {
            Reason::NoIndex
        })
    }

    fn indexes(&self) -> impl Iterator<Item = &KnownIndex> {
        self.loaded.iter().filter_map(LoadedSteps::index)
    }

    fn reason(&self, vertex: &Digest) -> Option<Reason> {
        let definition = self.definitions.get(vertex)?;
        if definition.ignores_cache {
            return Some(Reason::NotWanted);
        }
        if !self.is_known(definition) {
            // What an index leaves out may be in it.
            if self.truncated || !self.has_all_steps() {
                return None;
            }
            return Some(
                if self.inputs(definition).all(|input| self.is_known(input)) {
                    Reason::Command
                } else {
                    Reason::DefinitionBefore
                },
            );
        }
        match self.result(definition) {
            Result::Usable => self.reason_of_key(definition),
            Result::Unusable(reason) => Some(reason),
            Result::Unknown => None,
        }
    }

    /// Why BuildKit came to another key, although all definitions are the same.
    fn reason_of_key(&self, definition: &StepDefinition) -> Option<Reason> {
        let mut steps = self
            .inputs(definition)
            .filter(|input| input.kind == StepKind::Step);
        // A context is transferred in every build.
        if steps.any(|step| self.has_run(&step.vertex)) {
            return Some(Reason::ContentBefore);
        }
        let takes_content = |input: &StepDefinition| input.kind == StepKind::Content;
        if !self.inputs(definition).any(takes_content) {
            return None;
        }
        // A builder that has been used before may have other content for the steps before it.
        let mut steps = self
            .inputs(definition)
            .filter(|input| input.kind == StepKind::Step);
        Some(if steps.all(|step| self.came_from_index(step)) {
            Reason::Content
        } else {
            Reason::ContentOrBefore
        })
    }

    fn has_run(&self, vertex: &Digest) -> bool {
        let run = self.runs.get(vertex);
        run.is_some_and(|run| !self.is_cached(vertex, run))
    }

    fn inputs<'a>(
        &'a self,
        definition: &'a StepDefinition,
    ) -> impl Iterator<Item = &'a StepDefinition> {
        let inputs = definition.inputs.iter();
        inputs.filter_map(|input| self.definitions.get(input))
    }

    /// Whether an index has the definition.
    fn is_known(&self, definition: &StepDefinition) -> bool {
        self.entries(definition).next().is_some()
    }

    /// Whether what the indexes say is all there is to say.
    fn has_all_steps(&self) -> bool {
        self.indexes()
            .all(|index| index.table().is_some_and(|table| !table.truncated))
    }

    fn entries<'a>(
        &'a self,
        definition: &'a StepDefinition,
    ) -> impl Iterator<Item = (&'a KnownIndex, &'a StepEntry)> {
        let indexes = self.indexes();
        indexes.filter_map(|index| Some((index, index.entry(&definition.key)?)))
    }

    /// Whether buildkitd asked for the step's layer and was told that it is there.
    fn came_from_index(&self, definition: &StepDefinition) -> bool {
        let layers = self.entries(definition).filter_map(|(index, entry)| {
            let StepLayer::Exported(prefix) = entry.layer else {
                return None;
            };
            Some(
                index
                    .chains(prefix)
                    .filter_map(|chain| chain.first().copied()),
            )
        });
        layers.flatten().any(|layer| self.found.contains(&layer))
    }

    /// What the indexes have of a step's result: the best of what they say.
    fn result(&self, definition: &StepDefinition) -> Result {
        let (mut unusable, mut missing, mut unknown) = (None, None, false);
        for (index, entry) in self.entries(definition) {
            match entry.layer {
                StepLayer::Unknown => unknown = true,
                StepLayer::NotExported => missing = Some(Reason::NotExported(mode(index))),
                StepLayer::Exported(prefix) => {
                    let mut chains = index.chains(prefix).peekable();
                    if chains.peek().is_none() {
                        unusable = Some(Reason::LeftOut);
                    }
                    for chain in chains {
                        match self.fault(&chain) {
                            None => return Result::Usable,
                            Some(fault) => unusable = Some(fault),
                        }
                    }
                }
            }
        }
        match unusable {
            Some(reason) => Result::Unusable(reason),
            None if unknown => Result::Unknown,
            None => missing.map_or(Result::Unknown, Result::Unusable),
        }
    }

    /// What is wrong with a layer, or with one below it.
    fn fault(&self, chain: &[Digest]) -> Option<Reason> {
        let (top, below) = chain.split_first()?;
        if let Some(fault) = self.faults.get(top) {
            return Some(Reason::Layer(*fault));
        }
        let fault = below.iter().find_map(|layer| self.faults.get(layer))?;
        Some(Reason::LayerBelow(*fault))
    }
}

/// The mode of the export that wrote an index. Only what is a mode is repeated: the text comes from the
/// cache.
fn mode(index: &KnownIndex) -> &'static str {
    let modes = [Mode::Min, Mode::Max].map(Mode::as_str);
    let said = index.table().map_or("", |table| table.mode.as_str());
    modes
        .into_iter()
        .find(|mode| *mode == said)
        .unwrap_or("unknown")
}
