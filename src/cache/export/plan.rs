//! What the index will say, and what is lost.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use super::{Failure, ledger::Settled};
use crate::{
    cache::{
        graph::{self, Graph},
        index_format::{CacheConfig, Layer},
        report::{Event, Reporter},
        unreachable,
    },
    digest::Digest,
};

/// A warning names this many reasons, and layers of each, and counts the rest.
const MAX_NAMED: usize = 10;

/// What the index will say.
pub(super) struct Plan {
    pub kept: CacheConfig,
    pub graph: Graph,
    /// How many layers the build has.
    layers: usize,
    lost: Vec<Lost>,
}

/// A blob that is not in the cache.
struct Lost {
    digest: Digest,
    /// Why, if it was ever written.
    failure: Option<Failure>,
    /// The step that made it, where that is known.
    step: Option<String>,
}

impl Plan {
    pub fn new(
        described: &CacheConfig,
        mut settled: Settled,
        reporter: &dyn Reporter,
    ) -> Result<Self, String> {
        let named: BTreeMap<Digest, &Layer> = (described.layers.iter())
            .map(|layer| (layer.blob, layer))
            .collect();
        let missing = || {
            let missing = named
                .iter()
                .filter(|(digest, _)| !settled.confirmed.contains(digest));
            missing.map(|(digest, layer)| (*digest, *layer))
        };
        let digests: HashSet<Digest> = missing().map(|(digest, _)| digest).collect();
        let kept = graph::without(described, &digests).map_err(|e| e.to_string())?;
        let step = |layer: &Layer| {
            let made = layer.annotations.as_ref()?.created_at.moment()?;
            reporter.step_at(made)
        };
        let missing: Vec<_> = missing().map(|(digest, l)| (digest, step(l))).collect();
        let lost = missing.into_iter().map(|(digest, step)| Lost {
            digest,
            failure: settled.failed.remove(&digest),
            step,
        });
        Ok(Self {
            lost: lost.collect(),
            graph: Graph::from_index(&kept).map_err(|e| e.to_string())?,
            kept,
            layers: described.layers.len(),
        })
    }

    pub fn left_out(&self) -> usize {
        self.layers - self.kept.layers.len()
    }

    /// Whether a layer was lost because it came too late.
    pub fn is_late(&self) -> bool {
        let late = |lost: &Lost| matches!(lost.failure, Some(Failure::Late(_)));
        self.lost.iter().any(late)
    }

    /// The warning that stands for all of them, if every one was lost because the service could
    /// not be reached.
    pub fn unreachable(&self) -> Option<Event> {
        let warning = |failure: &Option<Failure>| match failure {
            Some(Failure::Remote(error)) => unreachable::warning(error),
            _ => None,
        };
        let mut warnings = self.lost.iter().map(|lost| warning(&lost.failure));
        let first = warnings.next()??;
        warnings.all(|other| other.is_some()).then_some(first)
    }

    /// One line for all that is lost, and the reasons in the service's own words.
    pub fn loss(&self) -> Option<(String, Vec<String>)> {
        if self.lost.is_empty() {
            return None;
        }
        let failed = self.lost.len();
        let all = self.layers;
        let left_out = self.left_out();
        // Where every layer that is left out has failed itself, no other was lost with it.
        let what = match left_out.saturating_sub(failed) {
            0 => format!("{failed} of {all} layers could not be saved and are left out"),
            above => format!(
                "{left_out} of {all} layers are left out ({failed} could not be saved, {above} \
                 build on them)"
            ),
        };
        let short = format!("cache export: {what}; the steps that made them will run again");
        Some((short, reasons(&self.lost)))
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "{} of {step}", self.digest),
            None => self.digest.fmt(f),
        }
    }
}

/// Each reason once, with the layers that it holds for.
fn reasons(lost: &[Lost]) -> Vec<String> {
    let mut by_reason: Vec<(String, Vec<&Lost>)> = Vec::new();
    for layer in lost {
        let reason = match &layer.failure {
            Some(failure) => failure.to_string(),
            None => "the build did not write it".to_owned(),
        };
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, layers)) => layers.push(layer),
            None => by_reason.push((reason, vec![layer])),
        }
    }
    let lines = by_reason.iter().take(MAX_NAMED).map(|(reason, layers)| {
        let named = layers.iter().take(MAX_NAMED).map(ToString::to_string);
        let named = named.collect::<Vec<_>>().join(", ");
        match layers.len().saturating_sub(MAX_NAMED) {
            0 => format!("{named}: {reason}"),
            more => format!("{named} and {more} more: {reason}"),
        }
    });
    let mut lines: Vec<_> = lines.collect();
    if by_reason.len() > MAX_NAMED {
        lines.push(format!("and {} more reasons", by_reason.len() - MAX_NAMED));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_for_all_its_layers() {
        let lost = |n: u8| Lost {
            digest: Digest::of([n]),
            failure: None,
            step: (n == 0).then(|| "[2/3] RUN make".to_owned()),
        };
        let lost: Vec<_> = (0..12).map(lost).collect();
        let lines = reasons(&lost);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].ends_with(" and 2 more: the build did not write it"),
            "{lines:?}"
        );
        let first = format!("{} of [2/3] RUN make, sha256:", lost[0].digest);
        assert!(lines[0].starts_with(&first), "{lines:?}");
    }
}
