//! What the index will say, and what is left out of it.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use super::{layer_error::LayerError, layer_tracker::Settled};
use crate::{
    cache::{
        graph::{self, Graph},
        index_format::{CacheConfig, IndexError, Layer},
        reasons,
        report::{Event, Reporter, Step, Warning},
        steps::StepLayers,
        unreachable,
    },
    digest::Digest,
    telemetry::LeftOut,
};

/// What the index will say.
pub(super) struct Plan {
    pub kept: CacheConfig,
    pub graph: Graph,
    /// How many layers the build has.
    layers: usize,
    /// The same, where a layer counts once that is at several places.
    pub counts: LayerCounts,
    missing: Vec<MissingLayer>,
    /// What the export has of the build's steps.
    pub step_layers: Option<StepLayers>,
}

/// The layers of an export, each once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LayerCounts {
    pub all: usize,
    /// Those that the index will not name.
    pub left_out: usize,
}

/// A layer that is not in the cache.
struct MissingLayer {
    digest: Digest,
    /// Why, if it was ever written.
    error: Option<LayerError>,
    /// The step that made it, where that is known.
    step: Option<Step>,
}

impl Plan {
    /// Leaves out of the `described` index what is not confirmed.
    pub fn new(
        described: &CacheConfig,
        mut settled: Settled,
        reporter: &dyn Reporter,
    ) -> Result<Self, IndexError> {
        let named: BTreeMap<Digest, &Layer> = (described.layers.iter())
            .map(|layer| (layer.blob, layer))
            .collect();
        let unconfirmed = || {
            let named = named.iter();
            named.filter(|(digest, _)| !settled.confirmed.contains(digest))
        };
        let digests: HashSet<Digest> = unconfirmed().map(|(digest, _)| *digest).collect();
        let kept = graph::without(described, &digests)?;
        let step = |layer: &Layer| {
            let made = layer.annotations.as_ref()?.created_at.moment()?;
            reporter.step_at(made)
        };
        let steps: Vec<_> = unconfirmed()
            .map(|(digest, l)| (*digest, step(l)))
            .collect();
        let missing = steps.into_iter().map(|(digest, step)| MissingLayer {
            digest,
            error: (settled.failed.remove(&digest)).or_else(|| settled.untracked.clone()),
            step,
        });
        let named_by_index: HashSet<Digest> = kept.layers.iter().map(|l| l.blob).collect();
        let counts = LayerCounts {
            all: named.len(),
            left_out: named.len() - named_by_index.len(),
        };
        Ok(Self {
            missing: missing.collect(),
            counts,
            graph: Graph::from_index(&kept)?,
            kept,
            layers: described.layers.len(),
            step_layers: reporter.steps().map(|steps| steps.layers(described)),
        })
    }

    pub fn left_out(&self) -> usize {
        self.layers - self.kept.layers.len()
    }

    /// How many layers are left out, and by which cause.
    pub fn causes(&self) -> impl Iterator<Item = (LeftOut, usize)> {
        let missing = self.missing.iter().map(|layer| {
            let cause = layer.error.as_ref().map(LayerError::cause);
            (cause.unwrap_or(LeftOut::NotWritten), 1)
        });
        let below = self.counts.left_out.saturating_sub(self.missing.len());
        missing.chain([(LeftOut::Below, below)])
    }

    /// Whether a layer is missing because it came too late.
    pub fn is_late(&self) -> bool {
        let is_late = |layer: &MissingLayer| matches!(layer.error, Some(LayerError::Late(..)));
        self.missing.iter().any(is_late)
    }

    /// The warning that stands for all of them, if every one is missing because the service could
    /// not be reached.
    pub fn unreachable(&self) -> Option<Event> {
        let warning = |layer: &MissingLayer| match &layer.error {
            Some(LayerError::Remote(error)) => unreachable::warning(error),
            _ => None,
        };
        let mut warnings = self.missing.iter().map(warning);
        let first = warnings.next()??;
        warnings.all(|other| other.is_some()).then_some(first)
    }

    /// One line for all that is left out, and the reasons in the service's own words.
    pub fn left_out_warning(&self) -> Option<Warning> {
        if self.missing.is_empty() {
            return None;
        }
        let failed = self.missing.len();
        let all = self.layers;
        let left_out = self.left_out();
        // Where every layer that is left out has failed itself, no other is left out with it.
        let what = match left_out.saturating_sub(failed) {
            0 => format!("{failed} of {all} layers could not be saved and are left out"),
            above => format!(
                "{left_out} of {all} layers are left out ({failed} could not be saved, {above} \
                 build on them)"
            ),
        };
        let short = format!("cache export: {what}; the steps that made them will run again");
        let steps = self.missing.iter().filter_map(|layer| layer.step.clone());
        Some(Warning {
            steps: steps.take(reasons::MAX_NAMED).collect(),
            ..Warning::new(short, reasons(&self.missing))
        })
    }
}

impl fmt::Display for MissingLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "{} of {}", self.digest, step.name),
            None => self.digest.fmt(f),
        }
    }
}

/// Each reason once, with the layers that it holds for.
fn reasons(missing: &[MissingLayer]) -> Vec<String> {
    reasons::lines(missing.iter().map(|layer| {
        let reason = match &layer.error {
            Some(error) => error.to_string(),
            None => "the build did not write it".to_owned(),
        };
        (layer.to_string(), reason)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_named_with_its_step() {
        let missing = |n: u8| MissingLayer {
            digest: Digest::sha256([n]),
            error: None,
            step: (n == 0).then(|| Step {
                name: "[2/3] RUN make".to_owned(),
                vertex: "sha256:1".to_owned(),
            }),
        };
        let missing: Vec<_> = (0..12).map(missing).collect();
        let lines = reasons(&missing);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let first = format!("{} of [2/3] RUN make, sha256:", missing[0].digest);
        assert!(lines[0].starts_with(&first), "{lines:?}");
    }
}
