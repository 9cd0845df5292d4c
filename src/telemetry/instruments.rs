//! What counts and measures: made once, kept by whoever counts with it, so that counting is one atomic
//! addition or, for a histogram, one short lock.

use std::{fmt, hash::Hash, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, LabelSetEncoder},
    metrics::{counter, family::Family, family::MetricConstructor, gauge, histogram},
};

/// The labels of a metric: their names and values.
pub trait Labels: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// As many names as values.
    const NAMES: &'static [&'static str];

    /// The values, in the order of the names.
    fn values(&self) -> Vec<String>;

    /// Those that are shown from the start, before anything was counted: a rate of a counter that appears
    /// with its first event misses that event.
    fn known() -> Vec<Self> {
        Vec::new()
    }
}

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(pub(super) counter::Counter);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.inc_by(n);
    }
}

/// Counters of one name, told apart by labels.
#[derive(Debug)]
pub struct CounterFamily<L: Labels>(pub(super) Family<Encoded<L>, counter::Counter>);

impl<L: Labels> CounterFamily<L> {
    pub(super) fn new() -> Self {
        let family = Self(Family::default());
        for labels in L::known() {
            family.add(labels, 0);
        }
        family
    }

    /// Counts one more of `labels`.
    pub fn increment(&self, labels: L) {
        self.add(labels, 1);
    }

    /// Counts `n` more of `labels`.
    pub fn add(&self, labels: L, n: u64) {
        self.0.get_or_create(&Encoded(labels)).inc_by(n);
    }
}

impl<L: Labels> Clone for CounterFamily<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The upper bounds of a histogram's buckets, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets(pub &'static [f64]);

impl MetricConstructor<histogram::Histogram> for Buckets {
    fn new_metric(&self) -> histogram::Histogram {
        histogram::Histogram::new(self.0.iter().copied())
    }
}

/// Histograms of one name, told apart by labels.
#[derive(Debug)]
pub struct HistogramFamily<L: Labels>(pub(super) Family<Encoded<L>, histogram::Histogram, Buckets>);

impl<L: Labels> HistogramFamily<L> {
    pub(super) fn new(buckets: Buckets) -> Self {
        let family = Family::new_with_constructor(buckets);
        for labels in L::known() {
            family.get_or_create_owned(&Encoded(labels));
        }
        Self(family)
    }

    /// Notes one duration of `labels`.
    pub fn observe(&self, labels: L, duration: Duration) {
        let histogram = self.0.get_or_create(&Encoded(labels));
        histogram.observe(duration.as_secs_f64());
    }
}

impl<L: Labels> Clone for HistogramFamily<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// How many of something there are now.
#[derive(Debug, Clone, Default)]
pub struct Level(pub(super) gauge::Gauge);

impl Level {
    /// One more, for as long as the answer is kept.
    pub fn enter(&self) -> InLevel {
        self.0.inc();
        InLevel(self.0.clone())
    }
}

/// How many of something there are now, told apart by labels.
#[derive(Debug)]
pub struct LevelFamily<L: Labels>(pub(super) Family<Encoded<L>, gauge::Gauge>);

impl<L: Labels> LevelFamily<L> {
    pub(super) fn new() -> Self {
        let family = Family::<Encoded<L>, gauge::Gauge>::default();
        for labels in L::known() {
            family.get_or_create_owned(&Encoded(labels));
        }
        Self(family)
    }

    /// One more of `labels`, for as long as the answer is kept.
    pub fn enter(&self, labels: L) -> InLevel {
        let gauge = self.0.get_or_create_owned(&Encoded(labels));
        gauge.inc();
        InLevel(gauge)
    }
}

impl<L: Labels> Clone for LevelFamily<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// One of those that a level counts.
#[derive(Debug)]
pub struct InLevel(gauge::Gauge);

impl Drop for InLevel {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Encoded<L>(pub L);

impl<L: Labels> EncodeLabelSet for Encoded<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        let pairs: Vec<_> = L::NAMES.iter().copied().zip(self.0.values()).collect();
        pairs.as_slice().encode(encoder)
    }
}
