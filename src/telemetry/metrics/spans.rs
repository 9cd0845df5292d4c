//! What became of the spans of traces.

use super::{
    CounterFamily, Registry,
    labels::{SpanEnd, SpanSink, Spans},
};

/// Their metrics. A clone counts in the same place.
#[derive(Debug, Clone)]
pub struct SpanMetrics(CounterFamily<Spans>);

impl SpanMetrics {
    /// Nothing has become of any yet.
    pub fn new(registry: &Registry) -> Self {
        Self(registry.counters(
            "buildkit_gha_trace_spans",
            "Spans of traces, by where they went and what became of them",
        ))
    }

    /// Something became of some.
    pub fn count(&self, sink: SpanSink, end: SpanEnd, count: usize) {
        self.0.add(Spans { sink, end }, count as u64);
    }
}
