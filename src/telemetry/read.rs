//! Metrics that are not counted but read where they are known, when the metrics are rendered.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A count, or bytes.
    Whole(u64),
    /// Seconds.
    Real(f64),
}

/// One of the values of a metric, with the values of its labels.
pub type Sample = (Vec<String>, Value);

/// A metric whose values are read.
pub(super) struct ReadMetric {
    pub name: &'static str,
    pub help: String,
    pub kind: MetricType,
    pub labels: &'static [&'static str],
    pub read: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

impl Collector for ReadMetric {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let samples = (self.read)();
        if samples.is_empty() {
            return Ok(());
        }
        let mut metric = encoder.encode_descriptor(self.name, &self.help, None, self.kind)?;
        for (values, value) in samples {
            let labels: Vec<_> = self.labels.iter().copied().zip(values).collect();
            if labels.is_empty() {
                // A set of no labels would be a pair of braces.
                return encode(self.kind, value, metric);
            }
            let labels = labels.as_slice();
            encode(self.kind, value, metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn encode(kind: MetricType, value: Value, encoder: MetricEncoder) -> fmt::Result {
    match (kind, value) {
        (MetricType::Counter, Value::Whole(value)) => ConstCounter::new(value).encode(encoder),
        (MetricType::Counter, Value::Real(value)) => ConstCounter::new(value).encode(encoder),
        // No count here reaches 2^63.
        (_, Value::Whole(value)) => {
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
        }
        (_, Value::Real(value)) => ConstGauge::new(value).encode(encoder),
    }
}

impl fmt::Debug for ReadMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadMetric").field(&self.name).finish()
    }
}
