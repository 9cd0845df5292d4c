//! The registry of metrics. It and its instruments are the only places that name the crate behind them.
//!
//! What happens is counted by an instrument. What is known anyway is not counted: it is read when the
//! metrics are rendered.

use std::{collections::BTreeSet, fmt, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{encoding::prometheus_text, metrics::MetricType, registry};

use super::{
    instruments::{Buckets, Counter, CounterFamily, HistogramFamily, Labels, Level, LevelFamily},
    read::{ReadMetric, Sample, Value},
};

/// Metrics by name. A clone is the same registry.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    metrics: registry::Registry,
    descriptions: Vec<Description>,
}

/// What a metric is, for the page of all metrics.
#[derive(Debug, Clone)]
pub struct Description {
    /// As it is rendered.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it counts.
    pub help: String,
    /// The names of its labels, each with the values that are known beforehand.
    pub labels: Vec<(&'static str, BTreeSet<String>)>,
}

impl Registry {
    /// A counter whose name ends in `_total`, which is added to `name`.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.describe(format!("{name}_total"), "counter", help, Vec::new());
        self.0
            .lock()
            .metrics
            .register(name, help, counter.0.clone());
        counter
    }

    /// Counters of one name, told apart by the labels `L`.
    pub fn counters<L: Labels>(&self, name: &str, help: &str) -> CounterFamily<L> {
        let family = CounterFamily::new();
        self.describe(format!("{name}_total"), "counter", help, known::<L>());
        self.0.lock().metrics.register(name, help, family.0.clone());
        family
    }

    /// Histograms of durations, told apart by the labels `L`; `buckets` are upper bounds in seconds.
    pub fn histograms<L: Labels>(
        &self,
        name: &str,
        help: &str,
        buckets: &'static [f64],
    ) -> HistogramFamily<L> {
        let family = HistogramFamily::new(Buckets(buckets));
        self.describe(name.to_owned(), "histogram", help, known::<L>());
        self.0.lock().metrics.register(name, help, family.0.clone());
        family
    }

    /// How many of something there are now.
    pub fn level(&self, name: &str, help: &str) -> Level {
        let level = Level::default();
        self.describe(name.to_owned(), "gauge", help, Vec::new());
        self.0.lock().metrics.register(name, help, level.0.clone());
        level
    }

    /// How many of something there are now, told apart by the labels `L`.
    pub fn levels<L: Labels>(&self, name: &str, help: &str) -> LevelFamily<L> {
        let family = LevelFamily::new();
        self.describe(name.to_owned(), "gauge", help, known::<L>());
        self.0.lock().metrics.register(name, help, family.0.clone());
        family
    }

    /// A value that is read when the metrics are rendered; `None` leaves it out.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) {
        let sample = move || read().map(Value::Whole);
        self.read(name, help, MetricType::Gauge, sample);
    }

    /// The same with a fraction, as of seconds.
    pub fn real_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let sample = move || read().map(Value::Real);
        self.read(name, help, MetricType::Gauge, sample);
    }

    /// A number that only grows, and is read when the metrics are rendered; `_total` is added to `name`.
    pub fn real_counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let sample = move || read().map(Value::Real);
        self.read(name, help, MetricType::Counter, sample);
    }

    /// Values that are read when the metrics are rendered, each with the values of these `labels`.
    pub fn gauges(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        self.collect(name, help, MetricType::Gauge, labels, Box::new(read));
    }

    fn read(
        &self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        read: impl Fn() -> Option<Value> + Send + Sync + 'static,
    ) {
        let samples = move || {
            read()
                .map(|value| (Vec::new(), value))
                .into_iter()
                .collect()
        };
        self.collect(name, help, kind, &[], Box::new(samples));
    }

    fn collect(
        &self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        labels: &'static [&'static str],
        read: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
    ) {
        let (shown, kind_name) = match kind {
            MetricType::Counter => (format!("{name}_total"), "counter"),
            _ => (name.to_owned(), "gauge"),
        };
        let described = labels.iter().map(|label| (*label, BTreeSet::new()));
        self.describe(shown, kind_name, help, described.collect());
        let metric = ReadMetric {
            name,
            // The registry itself ends the help of its metrics so.
            help: format!("{help}."),
            kind,
            labels,
            read,
        };
        let mut inner = self.0.lock();
        inner.metrics.register_collector(Box::new(metric));
    }

    fn describe(
        &self,
        name: String,
        kind: &'static str,
        help: &str,
        labels: Vec<(&'static str, BTreeSet<String>)>,
    ) {
        let description = Description {
            name,
            kind,
            help: help.to_owned(),
            labels,
        };
        self.0.lock().descriptions.push(description);
    }

    /// What the metrics are, in the order in which they were made.
    pub fn descriptions(&self) -> Vec<Description> {
        self.0.lock().descriptions.clone()
    }

    /// All metrics in the text form of Prometheus (version 0.0.4).
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Only the writer could fail, and a String does not.
        let _ = prometheus_text::encode(&mut text, &self.0.lock().metrics);
        text
    }
}

/// The labels `L`, each with its known values.
fn known<L: Labels>() -> Vec<(&'static str, BTreeSet<String>)> {
    let mut labels: Vec<_> = (L::NAMES.iter())
        .map(|name| (*name, BTreeSet::new()))
        .collect();
    for known in L::known() {
        for ((_, values), value) in labels.iter_mut().zip(known.values()) {
            values.insert(value);
        }
    }
    labels
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct Code(u16);

    impl Labels for Code {
        const NAMES: &'static [&'static str] = &["code"];

        fn values(&self) -> Vec<String> {
            vec![self.0.to_string()]
        }

        fn known() -> Vec<Self> {
            vec![Self(200)]
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
        registry.real_counter("x_cpu_seconds", "Time", || Some(1.5));
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
# HELP x_cpu_seconds_total Time.
# TYPE x_cpu_seconds_total counter
x_cpu_seconds_total 1.5
";
        assert_eq!(registry.render(), expected);
    }

    #[test]
    fn labels_that_are_known_are_shown_before_anything_was_counted() {
        let registry = Registry::default();
        let times = registry.histograms("x_seconds", "Times", &[0.5, 2.0]);
        let open = registry.levels::<Code>("x_open", "Open now");
        registry.gauges("x_broken", "Broken", &["place"], || {
            vec![(vec!["a \"b\"".to_owned()], Value::Whole(1))]
        });
        times.observe(Code(200), Duration::from_secs(1));
        let held = open.enter(Code(500));
        let expected = "\
# HELP x_seconds Times.
# TYPE x_seconds histogram
x_seconds_bucket{code=\"200\",le=\"0.5\"} 0
x_seconds_bucket{code=\"200\",le=\"2\"} 1
x_seconds_bucket{code=\"200\",le=\"+Inf\"} 1
x_seconds_sum{code=\"200\"} 1.0
x_seconds_count{code=\"200\"} 1
";
        let text = registry.render();
        assert!(text.starts_with(expected), "{text}");
        for sample in [
            "x_open{code=\"200\"} 0\n",
            "x_open{code=\"500\"} 1\n",
            "x_broken{place=\"a \\\"b\\\"\"} 1\n",
        ] {
            assert!(text.contains(sample), "{sample} in {text}");
        }
        drop(held);
        assert!(registry.render().contains("x_open{code=\"500\"} 0\n"));
    }

    #[test]
    fn every_metric_is_described_with_its_labels() {
        let registry = Registry::default();
        registry.counters::<Code>("x_answers", "Answers");
        let descriptions = registry.descriptions();
        let [described] = &descriptions[..] else {
            panic!("{descriptions:?}");
        };
        assert_eq!(
            (described.name.as_str(), described.kind),
            ("x_answers_total", "counter")
        );
        assert_eq!(
            described.labels,
            [("code", BTreeSet::from(["200".to_owned()]))]
        );
    }
}
