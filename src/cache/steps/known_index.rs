//! What one index says of steps, and which of its layers stand upon which.

use std::collections::HashMap;

use crate::{
    cache::index_format::{CacheConfig, LayerPrefix, StepEntry, StepKey, StepTable},
    digest::Digest,
};

/// Why a layer that an index names cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerFault {
    /// It is no longer in the cache.
    Gone,
    /// It is not what the index says of it.
    Damaged,
    /// The service did not answer for it in time.
    Unreachable,
}

/// What came of loading an index.
pub(in crate::cache) enum LoadedSteps {
    /// It is there.
    Found(KnownIndex),
    /// There is none.
    Absent,
    /// There is one, or may be, and it could not be had or used.
    Unusable,
}

/// What an index says of steps, and its layers.
pub(in crate::cache) struct KnownIndex {
    table: Option<StepTable>,
    /// The places in the table by key.
    entries: HashMap<StepKey, usize>,
    /// Its layers, each with the place of its parent.
    layers: Vec<(Digest, Option<u32>)>,
    by_prefix: HashMap<LayerPrefix, Vec<u32>>,
}

impl KnownIndex {
    /// Takes the table out of an index that has been checked: nobody else needs it.
    pub fn take_from(config: &mut CacheConfig) -> Self {
        let table = config.steps.take();
        let steps = table.iter().flat_map(|table| &table.steps);
        let entries = steps.enumerate().map(|(at, step)| (step.key, at)).collect();
        // Without a table nobody asks for layers.
        let described = table.iter().flat_map(|_| &config.layers);
        let layers = described.map(|layer| (layer.blob, u32::try_from(layer.parent).ok()));
        let layers: Vec<_> = layers.collect();
        let mut by_prefix: HashMap<_, Vec<u32>> = HashMap::new();
        for (place, (blob, _)) in (0..).zip(&layers) {
            let prefix = LayerPrefix::from_digest(blob);
            by_prefix.entry(prefix).or_default().push(place);
        }
        Self {
            table,
            entries,
            layers,
            by_prefix,
        }
    }

    /// What it says of its steps, if it was written by a gateway.
    pub fn table(&self) -> Option<&StepTable> {
        self.table.as_ref()
    }

    /// What it says of a step.
    pub fn entry(&self, key: &StepKey) -> Option<&StepEntry> {
        self.table()?.steps.get(*self.entries.get(key)?)
    }

    /// The layers that begin so and stand at one place or another, each with all that it stands upon, from
    /// the top.
    pub fn chains(&self, prefix: LayerPrefix) -> impl Iterator<Item = Vec<Digest>> {
        let places = self.by_prefix.get(&prefix).into_iter().flatten();
        places.map(|place| self.chain(*place))
    }

    fn chain(&self, place: u32) -> Vec<Digest> {
        let mut chain = Vec::new();
        let mut next = Some(place);
        // The index was checked: there is no circle.
        while let Some((blob, parent)) = next.and_then(|place| self.layers.get(place as usize)) {
            chain.push(*blob);
            next = *parent;
        }
        chain
    }
}

impl LoadedSteps {
    /// The index, if there is one.
    pub fn index(&self) -> Option<&KnownIndex> {
        match self {
            Self::Found(index) => Some(index),
            Self::Absent | Self::Unusable => None,
        }
    }

    /// What it says of its steps.
    pub fn table(&self) -> Option<&StepTable> {
        self.index()?.table()
    }
}
