//! Reading an index from anybody: bounds before and after parsing, places in range, no cycles.

use super::{CacheConfig, NO_PARENT};

/// An index of 50,000 records and 10,000 layers has about 16 MiB.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// The most layers; a build of thousands of steps has thousands.
pub(super) const MAX_LAYERS: usize = 100_000;

/// The most records.
pub(super) const MAX_RECORDS: usize = 400_000;

/// The most links between records.
pub(super) const MAX_LINKS: usize = 1_000_000;

/// The most marks `{`, `[` and `,` in the text. Each one may cost about 100 bytes of memory, and
/// counting them costs nothing, so they are counted before anything is parsed.
pub(super) const MAX_ELEMENTS: usize = 2_000_000;

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// More than this program reads.
    #[error("the cache index has {actual} {what}, more than the {limit} that are read")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// How much there is.
        actual: usize,
    },
    /// Not the JSON of an index.
    #[error("the cache index is not what BuildKit writes: {0}")]
    Json(#[from] serde_json::Error),
    /// A place that does not exist.
    #[error("{at} of the cache index names {what} {place}, which does not exist")]
    Reference {
        /// Where it is named.
        at: String,
        /// `layer` or `record`.
        what: &'static str,
        /// What is named.
        place: i64,
    },
    /// Something stands upon itself.
    #[error("the {0} of the cache index form a cycle")]
    Cycle(&'static str),
    /// The text is no JSON object: BuildKit refuses it.
    #[error("the cache index is not what BuildKit writes: it is no JSON object")]
    NoObject,
    /// It would cost buildkitd more than an index should.
    #[error(
        "buildkitd would need about {} MB of memory to read the cache index, more than the {} MB that \
         an index may cost it",
        cost / 1_000_000,
        limit / 1_000_000
    )]
    TooCostly {
        /// The estimate, in bytes.
        cost: u64,
        /// The bound.
        limit: u64,
    },
    /// BuildKit refuses an index with such a record.
    #[error("record {0} of the cache index has an input that nothing leads to")]
    EmptyInput(usize),
}

/// Reads and checks an index.
pub fn parse(json: &[u8]) -> Result<CacheConfig, IndexError> {
    bound("bytes", json.len(), MAX_BYTES)?;
    let marks = json
        .iter()
        .filter(|b| matches!(b, b'{' | b'[' | b','))
        .count();
    bound("elements", marks, MAX_ELEMENTS)?;
    // serde takes a list for the object whose fields it holds in their order.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(IndexError::NoObject);
    }
    let config: CacheConfig = serde_json::from_slice(json)?;
    config.check()?;
    Ok(config)
}

impl CacheConfig {
    /// Checks all that reading the JSON does not: counts, places, cycles.
    pub fn check(&self) -> Result<(), IndexError> {
        bound("layers", self.layers.len(), MAX_LAYERS)?;
        bound("records", self.records.len(), MAX_RECORDS)?;
        let links = self
            .records
            .iter()
            .flat_map(|r| &r.inputs)
            .map(Vec::len)
            .sum();
        bound("links", links, MAX_LINKS)?;
        layer_order(self)?;
        record_order(self)?;
        for (at, record) in self.records.iter().enumerate() {
            if record.inputs.iter().any(Vec::is_empty) {
                return Err(IndexError::EmptyInput(at));
            }
            let chained = record
                .chains
                .iter()
                .flat_map(|chain| chain.layers.iter().copied());
            let layers = record
                .results
                .iter()
                .map(|result| result.layer)
                .chain(chained);
            for layer in layers {
                if layer as usize >= self.layers.len() {
                    return Err(bad_reference("record", at, "layer", i64::from(layer)));
                }
            }
        }
        Ok(())
    }
}

fn bound(what: &'static str, actual: usize, limit: usize) -> Result<(), IndexError> {
    if actual > limit {
        return Err(IndexError::TooLarge {
            what,
            limit,
            actual,
        });
    }
    Ok(())
}

fn bad_reference(what: &str, at: usize, named: &'static str, place: i64) -> IndexError {
    IndexError::Reference {
        at: format!("{what} {at}"),
        what: named,
        place,
    }
}

/// The layers' places, each parent before its children.
pub(crate) fn layer_order(config: &CacheConfig) -> Result<Vec<usize>, IndexError> {
    let count = config.layers.len();
    let mut parents = Vec::with_capacity(count);
    for (at, layer) in config.layers.iter().enumerate() {
        parents.push(match layer.parent {
            NO_PARENT => None,
            parent => match usize::try_from(parent) {
                Ok(parent) if parent < count => Some(parent),
                _ => return Err(bad_reference("layer", at, "layer", parent)),
            },
        });
    }
    order(count, |at| parents[at].into_iter()).ok_or(IndexError::Cycle("layers"))
}

/// The records' places, each record after all that it links to.
pub(crate) fn record_order(config: &CacheConfig) -> Result<Vec<usize>, IndexError> {
    let count = config.records.len();
    for (at, record) in config.records.iter().enumerate() {
        for link in record.inputs.iter().flatten() {
            if link.link as usize >= count {
                return Err(bad_reference("record", at, "record", i64::from(link.link)));
            }
        }
    }
    let below = |at: usize| {
        config.records[at]
            .inputs
            .iter()
            .flatten()
            .map(|l| l.link as usize)
    };
    order(count, below).ok_or(IndexError::Cycle("records"))
}

/// Places in an order where everything that a place stands upon comes before it; None if there is
/// a cycle. Walks depth first with a stack of its own, since chains may be very long.
fn order<I: Iterator<Item = usize>>(
    count: usize,
    below: impl Fn(usize) -> I,
) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; count];
    let mut order = Vec::with_capacity(count);
    let mut open: Vec<(usize, I)> = Vec::new();
    for start in 0..count {
        if states[start] == State::New {
            states[start] = State::Open;
            open.push((start, below(start)));
        }
        while let Some((at, rest)) = open.last_mut() {
            let at = *at;
            match rest.next() {
                None => {
                    states[at] = State::Done;
                    order.push(at);
                    open.pop();
                }
                Some(next) => match states[next] {
                    State::Done => {}
                    State::Open => return None,
                    State::New => {
                        states[next] = State::Open;
                        open.push((next, below(next)));
                    }
                },
            }
        }
    }
    Some(order)
}
