//! Where spans go: to buildkitd, which keeps them with the history of builds, and to a collector.
//!
//! A buildkitd that the gateway has started has the gateway's environment: where a collector is asked for, it
//! sends on what it is given. So the collector gets each span once: those of clients' traces from it, and only
//! those that belong to no client's from the gateway. In front of a buildkitd that runs already nothing is known
//! of its environment, and the gateway sends all that it was asked for.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    config::Traces,
    gateway::{BuildInterceptor, Daemon as _, Interceptor as _, UnaryClient},
    lifecycle::Tasks,
    otlp::{self, Collector, Exporter},
    telemetry::{
        Metrics, SpanEnd, SpanMetrics, SpanSink,
        trace::{Batches, EndedSpan, SpanSource, Tracer},
    },
};

/// The call by which buildkitd takes spans, from clients and from us.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How long buildkitd may take to accept spans, which it puts into a queue.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Spans that are recorded, until it is known where they go.
pub(super) struct Recording {
    pub tracer: Tracer,
    spans: Option<mpsc::Receiver<EndedSpan>>,
    collector: Option<Exporter>,
    source: SpanSource,
    metrics: SpanMetrics,
}

/// Where recorded spans go.
pub(super) struct Destination {
    /// buildkitd.
    pub daemon: Arc<UnaryClient>,
    /// It has the gateway's environment.
    pub is_child: bool,
    /// Masks tokens.
    pub interceptor: Arc<BuildInterceptor>,
}

impl Recording {
    /// Begins to record, as far as OpenTelemetry's variables let it.
    pub fn begin(config: Traces, metrics: &Metrics) -> Self {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let collector = config.collector.and_then(otlp::connect);
        let (tracer, spans) = if config.disabled {
            (Tracer::default(), None)
        } else {
            let collected = collector.is_some();
            let (tracer, spans) = Tracer::new(config.sampler, collected, metrics.spans().clone());
            (tracer, Some(spans))
        };
        Self {
            tracer,
            spans,
            collector,
            source: SpanSource::new(config.resource),
            metrics: metrics.spans().clone(),
        }
    }

    /// Sends from now on what was recorded.
    pub fn send_to(self, destination: Destination, tasks: &Tasks) {
        let Some(spans) = self.spans else {
            return;
        };
        let metrics = &self.metrics;
        let collector = self
            .collector
            .map(|exporter| Collector::start(exporter, metrics.clone(), tasks));
        let delivery = Delivery {
            destination,
            collector,
            source: self.source,
            metrics: self.metrics,
        };
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("spans", async move {
            let mut batches = Batches::new(spans);
            while let Some(batch) = batches.next_until(&shutdown).await {
                delivery.deliver(&batch).await;
            }
        });
    }
}

/// Sends batches of spans.
struct Delivery {
    destination: Destination,
    collector: Option<Collector>,
    source: SpanSource,
    metrics: SpanMetrics,
}

impl Delivery {
    async fn deliver(&self, batch: &[EndedSpan]) {
        let of_clients: Vec<_> = batch.iter().filter(|span| span.of_client).collect();
        if !of_clients.is_empty() {
            self.hand_over(&of_clients).await;
        }
        if let Some(collector) = &self.collector {
            let forwarded = self.destination.is_child;
            let own: Vec<_> = (batch.iter())
                .filter(|span| !(span.of_client && forwarded))
                .collect();
            if !own.is_empty() {
                collector.send(self.message(&own), own.len());
            }
        }
    }

    /// To buildkitd.
    async fn hand_over(&self, spans: &[&EndedSpan]) {
        let message = self.message(spans);
        let handed = self.destination.daemon.call(EXPORT, &[], message);
        let end = match timeout(HAND_OVER, handed).await {
            Ok(Ok(_)) => SpanEnd::Sent,
            Ok(Err(error)) => {
                tracing::debug!(%error, "buildkitd does not take spans");
                SpanEnd::Failed
            }
            Err(_) => {
                tracing::debug!("buildkitd does not take spans within {HAND_OVER:?}");
                SpanEnd::Failed
            }
        };
        self.metrics.count(SpanSink::Buildkitd, end, spans.len());
    }

    /// The message, in which no token stands that a build has ever used: a service may repeat one in the words
    /// of an error.
    fn message(&self, spans: &[&EndedSpan]) -> Bytes {
        let request = self.source.request(spans.iter().copied());
        let interceptor = &self.destination.interceptor;
        interceptor.trace(request.encode_to_vec().into())
    }
}
