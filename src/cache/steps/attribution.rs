//! Which layer of an index is the result of which step.
//!
//! BuildKit does not say it, but its times do. A layer is made (`createdAt` of the layer) while its step
//! runs, and its result is kept (`createdAt` of the result) as soon as the step has ended: seen on v0.20.2
//! to v0.34.2 (`solver/edge.go`, `execOp`). What does not fit to exactly one step is nobody's.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::{
    cache::index_format::{CacheConfig, LayerPrefix, StepLayer},
    digest::Digest,
};

/// How long after a step's end its result is kept at the latest. It takes milliseconds, but for a
/// scheduler that is held up (5 s were seen).
const KEEPING: SignedDuration = SignedDuration::from_secs(10);

/// A step that has run in this build.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepInterval {
    pub vertex: Digest,
    pub started: Timestamp,
    pub completed: Timestamp,
}

/// The results of an index, by their layers' places: when the first result with it was kept.
fn results(index: &CacheConfig) -> BTreeMap<u32, Timestamp> {
    let mut kept: BTreeMap<u32, Timestamp> = BTreeMap::new();
    for record in &index.records {
        let layers = record.results.iter();
        let layers = layers.map(|result| (Some(result.layer), &result.created_at));
        let chains = record.chains.iter();
        let chains = chains.map(|chain| (chain.layers.last().copied(), &chain.created_at));
        for (layer, created_at) in layers.chain(chains) {
            let Some((layer, at)) = layer.zip(created_at.moment()) else {
                continue;
            };
            let first = kept.entry(layer).or_insert(at);
            *first = at.min(*first);
        }
    }
    kept
}

/// What an export has of the steps of its build.
pub(in crate::cache) struct StepLayers {
    /// Of each step that ran.
    pub(super) ran: HashMap<Digest, StepLayer>,
    /// All layers.
    pub(super) named: HashSet<LayerPrefix>,
}

/// What an export has that BuildKit describes so.
pub(super) fn attribute(ran: &[StepInterval], described: &CacheConfig) -> StepLayers {
    let layers: HashSet<_> = described.layers.iter().map(|layer| layer.blob).collect();
    StepLayers {
        ran: of_steps(ran, described),
        named: layers.iter().map(LayerPrefix::from_digest).collect(),
    }
}

fn of_steps(ran: &[StepInterval], index: &CacheConfig) -> HashMap<Digest, StepLayer> {
    let mut steps: HashMap<Digest, StepLayer> = (ran.iter())
        .map(|step| (step.vertex, StepLayer::NotExported))
        .collect();
    let mut taken = HashSet::new();
    let mut by_time: Vec<_> = results(index).into_iter().collect();
    by_time.sort_unstable_by_key(|(_, kept)| *kept);
    for (place, kept) in by_time {
        let layer = &index.layers[place as usize];
        let annotations = layer.annotations.as_ref();
        let made = annotations.and_then(|annotations| annotations.created_at.moment());
        let fits = |step: &&StepInterval| {
            let while_it_ran = step.started..=step.completed;
            made.is_some_and(|made| while_it_ran.contains(&made)) && step.completed <= kept
        };
        let mut fitting = ran
            .iter()
            .filter(fits)
            .filter(|step| !taken.contains(&step.vertex));
        match (fitting.next(), fitting.next()) {
            (Some(step), None) => {
                taken.insert(step.vertex);
                let prefix = LayerPrefix::from_digest(&layer.blob);
                steps.insert(step.vertex, StepLayer::Exported(prefix));
            }
            // Some step's, and it is not known whose: empty layers are one blob for many steps.
            _ => doubt(&mut steps, ran, kept),
        }
    }
    steps
}

/// Leaves open what the index has of the steps that may have made a result which was kept at that time.
fn doubt(steps: &mut HashMap<Digest, StepLayer>, ran: &[StepInterval], kept: Timestamp) {
    let just_ended = |step: &&StepInterval| {
        let since = kept.duration_since(step.completed);
        !since.is_negative() && since <= KEEPING
    };
    for step in ran.iter().filter(just_ended) {
        if let Some(layer @ StepLayer::NotExported) = steps.get_mut(&step.vertex) {
            *layer = StepLayer::Unknown;
        }
    }
}
