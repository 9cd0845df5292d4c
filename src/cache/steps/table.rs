//! The table of the index that an export writes.

use std::collections::{HashMap, HashSet};

use super::{
    State,
    attribution::{StepInterval, StepLayers},
};
use crate::{
    cache::{
        attributes::Mode,
        index_format::{LayerPrefix, StepEntry, StepKey, StepLayer, StepTable},
    },
    digest::Digest,
};

/// What an older index says of a step.
#[derive(Clone, Copy)]
struct Older {
    millis: Option<u64>,
    layer: StepLayer,
    /// It was written with the same mode.
    same_mode: bool,
}

impl State {
    /// The steps of this build, with the times of those that ran and what older indexes say of the others.
    pub(super) fn table(&self, mode: Mode, layers: &StepLayers) -> Option<StepTable> {
        if self.order.is_empty() {
            return None;
        }
        let older = self.older(mode);
        let mut known = HashSet::new();
        let mut steps = Vec::with_capacity(self.order.len());
        for vertex in &self.order {
            let Some(definition) = self.definitions.get(vertex) else {
                continue;
            };
            let key = definition.key;
            // Contexts of two sessions are one.
            if !known.insert(key) {
                continue;
            }
            let entry = match layers.ran.get(vertex) {
                Some(layer) => StepEntry {
                    key,
                    millis: self.millis(vertex),
                    layer: *layer,
                },
                None => carried_over(key, older.get(&key), &layers.named),
            };
            steps.push(entry);
        }
        Some(StepTable {
            mode: mode.as_str().to_owned(),
            truncated: self.truncated,
            steps,
        })
    }

    /// How long a step ran in this build.
    fn millis(&self, vertex: &Digest) -> Option<u64> {
        let duration = self.runs.get(vertex)?.duration()?;
        u64::try_from(duration.as_millis()).ok()
    }

    /// The steps that ran in this build, to a good end.
    pub(super) fn ran(&self) -> Vec<StepInterval> {
        let runs = self.runs.iter();
        let ran =
            runs.filter(|(vertex, run)| self.is_step(vertex, run) && !self.is_cached(vertex, run));
        let ran = ran.filter_map(|(vertex, run)| {
            let (started, completed) = run.last_run()?;
            Some(StepInterval {
                vertex: *vertex,
                started,
                completed,
            })
        });
        ran.collect()
    }

    /// What older indexes say, the first that says something of a step.
    fn older(&self, mode: Mode) -> HashMap<StepKey, Older> {
        let mut all: HashMap<StepKey, Older> = HashMap::new();
        for table in self.tables() {
            let same_mode = table.mode == mode.as_str();
            for step in &table.steps {
                let known = all.entry(step.key).or_insert(Older {
                    millis: None,
                    layer: StepLayer::Unknown,
                    same_mode,
                });
                known.millis = known.millis.or(step.millis);
                if known.layer == StepLayer::Unknown {
                    known.layer = step.layer;
                    known.same_mode = same_mode;
                }
            }
        }
        all
    }
}

/// What an older index says of a step that has not run now, as far as it holds for an export with these
/// layers.
fn carried_over(key: StepKey, older: Option<&Older>, named: &HashSet<LayerPrefix>) -> StepEntry {
    let layer = older.map_or(StepLayer::Unknown, |older| match older.layer {
        StepLayer::Exported(prefix) if named.contains(&prefix) => older.layer,
        // The same layers go out again, unless another mode lets more of them go.
        StepLayer::NotExported if older.same_mode => older.layer,
        // It may be there with another layer.
        _ => StepLayer::Unknown,
    });
    StepEntry {
        key,
        millis: older.and_then(|older| older.millis),
        layer,
    }
}
