//! The registry of metrics, and the instruments that it knows: the only place that names the crate
//! behind them.
//!
//! An instrument is made once and kept by whoever counts with it, so that counting is one atomic
//! addition. What is known anyway is not counted: a gauge reads it when the metrics are rendered.

use std::{fmt, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, LabelSetEncoder, prometheus_text,
    },
    metrics::{MetricType, counter, family::Family, gauge::ConstGauge},
    registry,
};

/// Metrics by name. A clone is the same registry.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<registry::Registry>>);

impl Registry {
    /// A counter whose name ends in `_total`, which is added to `name`.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.0.lock().register(name, help, counter.0.clone());
        counter
    }

    /// Counters of one name, told apart by the labels `L`.
    pub fn counters<L: Labels>(&self, name: &str, help: &str) -> CounterFamily<L> {
        let family = CounterFamily(Family::default());
        self.0.lock().register(name, help, family.0.clone());
        family
    }

    /// A value that is read when the metrics are rendered; `None` leaves it out.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) {
        let read = Box::new(read);
        let gauge = Gauge { name, help, read };
        self.0.lock().register_collector(Box::new(gauge));
    }

    /// All metrics in the text form of Prometheus (version 0.0.4).
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Only the writer could fail, and a String does not.
        let _ = prometheus_text::encode(&mut text, &self.0.lock());
        text
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(counter::Counter);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.inc_by(n);
    }
}

/// The labels of a counter: their names and values.
pub trait Labels: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// As many names as values.
    const NAMES: &'static [&'static str];

    /// The values, in the order of the names.
    fn values(&self) -> Vec<String>;
}

/// Counters of one name, told apart by labels.
#[derive(Debug)]
pub struct CounterFamily<L: Labels>(Family<Encoded<L>, counter::Counter>);

impl<L: Labels> CounterFamily<L> {
    /// Counts one more of `labels`.
    pub fn increment(&self, labels: L) {
        self.0.get_or_create(&Encoded(labels)).inc();
    }
}

impl<L: Labels> Clone for CounterFamily<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Encoded<L>(L);

impl<L: Labels> EncodeLabelSet for Encoded<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        let pairs: Vec<_> = L::NAMES.iter().copied().zip(self.0.values()).collect();
        pairs.as_slice().encode(encoder)
    }
}

struct Gauge {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> Option<u64> + Send + Sync>,
}

impl Collector for Gauge {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(value) = (self.read)() else {
            return Ok(());
        };
        let metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        // No count here reaches 2^63.
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct Code(u16);

    impl Labels for Code {
        const NAMES: &'static [&'static str] = &["code"];

        fn values(&self) -> Vec<String> {
            vec![self.0.to_string()]
        }
    }

    #[test]
    fn metrics_are_rendered_as_prometheus_reads_them() {
        let registry = Registry::default();
        let bytes = registry.counter("x_bytes", "Bytes");
        bytes.add(7);
        let answers = registry.clone().counters("x_answers", "Answers");
        answers.increment(Code(200));
        answers.clone().increment(Code(200));
        registry.gauge("x_open", "Open now", || Some(3));
        registry.gauge("x_gone", "Not there", || None);
        let expected = "\
# HELP x_bytes_total Bytes.
# TYPE x_bytes_total counter
x_bytes_total 7
# HELP x_answers_total Answers.
# TYPE x_answers_total counter
x_answers_total{code=\"200\"} 2
# HELP x_open Open now.
# TYPE x_open gauge
x_open 3
";
        assert_eq!(registry.render(), expected);
    }
}
