//! A collector, with the messages that wait for it.

use std::time::Duration;

use bytes::Bytes;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{config::Config, exporter::Exporter};
use crate::{
    lifecycle::Tasks,
    telemetry::{SpanEnd, SpanMetrics, SpanSink},
};

/// Batches that wait for a collector which is slow. Further ones are dropped: spans are worth no memory.
const QUEUE: usize = 16;

/// How long the last spans may take once the process ends.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// A collector that takes spans.
#[derive(Debug)]
pub struct Collector {
    queue: mpsc::Sender<Sending>,
    metrics: SpanMetrics,
}

/// An `ExportTraceServiceRequest`, and how many spans are in it.
#[derive(Debug)]
struct Sending {
    message: Bytes,
    spans: usize,
}

/// What sends to a collector; the log says where, or why there is none.
pub fn connect(config: Config) -> Option<Exporter> {
    let (protocol, endpoint) = (config.protocol, config.endpoint.origin());
    let endpoint = endpoint.ascii_serialization();
    match Exporter::new(config) {
        Ok(exporter) => {
            tracing::info!(endpoint, %protocol, "traces are sent to a collector");
            Some(exporter)
        }
        Err(error) => {
            tracing::warn!(endpoint, "no traces are sent to the collector: {error}");
            None
        }
    }
}

impl Collector {
    /// Sends from now on what comes.
    pub fn start(exporter: Exporter, metrics: SpanMetrics, tasks: &Tasks) -> Self {
        let (queue, sendings) = mpsc::channel(QUEUE);
        let (of_task, shutdown) = (metrics.clone(), tasks.shutdown().clone());
        let collecting = collect(exporter, sendings, of_task, shutdown);
        tasks.spawn("spans for a collector", collecting);
        Self { queue, metrics }
    }

    /// Sends a message with so many spans, unless too many wait.
    pub fn send(&self, message: Bytes, spans: usize) {
        if self.queue.try_send(Sending { message, spans }).is_err() {
            self.metrics.count(SpanSink::Otlp, SpanEnd::Dropped, spans);
        }
    }
}

/// Sends what comes until nothing more can come. Once the process ends, the rest has little time.
async fn collect(
    exporter: Exporter,
    sendings: mpsc::Receiver<Sending>,
    metrics: SpanMetrics,
    shutdown: CancellationToken,
) {
    let sending = send_all(exporter, sendings, metrics);
    tokio::pin!(sending);
    tokio::select! {
        () = &mut sending => return,
        () = shutdown.cancelled() => {}
    }
    if timeout(LAST_SPANS, sending).await.is_err() {
        tracing::debug!("the last spans have not reached the collector");
    }
}

async fn send_all(exporter: Exporter, mut sendings: mpsc::Receiver<Sending>, metrics: SpanMetrics) {
    let mut told = false;
    while let Some(Sending { message, spans }) = sendings.recv().await {
        let end = match exporter.send(&message).await {
            Ok(()) => SpanEnd::Sent,
            Err(error) => {
                if told {
                    tracing::debug!(%error, "the collector does not take spans");
                } else {
                    tracing::warn!("the collector does not take traces: {error}");
                    told = true;
                }
                SpanEnd::Failed
            }
        };
        metrics.count(SpanSink::Otlp, end, spans);
    }
}
