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
    missing: Vec<MissingLayer>,
}

/// A layer that is not in the cache.
struct MissingLayer {
    digest: Digest,
    /// Why, if it was ever written.
    error: Option<LayerError>,
    /// The step that made it, where that is known.
    step: Option<String>,
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
        Ok(Self {
            missing: missing.collect(),
            graph: Graph::from_index(&kept)?,
            kept,
            layers: described.layers.len(),
        })
    }

    pub fn left_out(&self) -> usize {
        self.layers - self.kept.layers.len()
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
    pub fn left_out_text(&self) -> Option<(String, Vec<String>)> {
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
        Some((short, reasons(&self.missing)))
    }
}

impl fmt::Display for MissingLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "{} of {step}", self.digest),
            None => self.digest.fmt(f),
        }
    }
}

/// Each reason once, with the layers that it holds for.
fn reasons(missing: &[MissingLayer]) -> Vec<String> {
    let mut by_reason: Vec<(String, Vec<&MissingLayer>)> = Vec::new();
    for layer in missing {
        let reason = match &layer.error {
            Some(error) => error.to_string(),
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
        let missing = |n: u8| MissingLayer {
            digest: Digest::sha256([n]),
            error: None,
            step: (n == 0).then(|| "[2/3] RUN make".to_owned()),
        };
        let missing: Vec<_> = (0..12).map(missing).collect();
        let lines = reasons(&missing);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].ends_with(" and 2 more: the build did not write it"),
            "{lines:?}"
        );
        let first = format!("{} of [2/3] RUN make, sha256:", missing[0].digest);
        assert!(lines[0].starts_with(&first), "{lines:?}");
    }
}
