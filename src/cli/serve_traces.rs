//! The requests of a service as spans, for the collector that OpenTelemetry's variables name.

use prost::Message as _;

use crate::{
    config::{Env, Traces},
    lifecycle::Tasks,
    otlp::{self, Collector},
    telemetry::{
        SpanMetrics,
        trace::{Batches, SpanSource, Tracer},
    },
};

/// Sends spans from now on; `None` where nobody wants them.
pub(super) fn start(metrics: &SpanMetrics, tasks: &Tasks) -> Option<Tracer> {
    let config = Traces::read(&Env::from_process());
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let exporter = config.collector.and_then(otlp::connect)?;
    let (tracer, spans) = Tracer::new(config.sampler, true, metrics.clone());
    let collector = Collector::start(exporter, metrics.clone(), tasks);
    let source = SpanSource::new(config.resource);
    let shutdown = tasks.shutdown().clone();
    tasks.spawn("spans", async move {
        let mut batches = Batches::new(spans);
        while let Some(batch) = batches.next_until(&shutdown).await {
            let message = source.request(&batch).encode_to_vec();
            collector.send(message.into(), batch.len());
        }
    });
    Some(tracer)
}
