//! Where traces begin, and where ended spans come out.

use std::sync::{Arc, atomic::AtomicUsize};

use tokio::sync::mpsc;

use super::{
    context::TraceContext,
    sampler::Sampler,
    span::{EndedSpan, MAX_SPANS, Root, TraceParent, TraceSpan},
};
use crate::{proto::trace::span::SpanKind, telemetry::metrics::SpanMetrics};

/// Spans that wait to be sent: those of a few builds that end together. With a few hundred bytes each they
/// take a megabyte or two. More are dropped, and counted.
const QUEUE: usize = 4096;

/// Begins traces. The default begins none.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    ended: mpsc::Sender<EndedSpan>,
    metrics: SpanMetrics,
    sampler: Sampler,
    /// Calls without a client's trace get one of ours: somebody collects them.
    begins_own: bool,
}

impl Tracer {
    /// A tracer, and where the spans come out that have ended. `collected`: traces that no client has begun
    /// are sent somewhere, too.
    pub fn new(
        sampler: Sampler,
        collected: bool,
        metrics: SpanMetrics,
    ) -> (Self, mpsc::Receiver<EndedSpan>) {
        let (ended, spans) = mpsc::channel(QUEUE);
        let recorder = Recorder {
            ended,
            metrics,
            sampler,
            begins_own: collected,
        };
        (Self(Some(Arc::new(recorder))), spans)
    }

    /// Begins a span under what a client says of its own, or a trace of ours.
    pub(super) fn begin(
        &self,
        traceparent: Option<&str>,
        kind: SpanKind,
        name: &'static str,
    ) -> TraceSpan {
        let Some(recorder) = &self.0 else {
            return TraceSpan::default();
        };
        let client = traceparent.and_then(TraceContext::parse);
        match client {
            Some(client) if recorder.sampler.records(client) => {
                recorder.parent(client, true).begin(kind, || name)
            }
            None if recorder.begins_own => {
                let root = TraceContext::root(true);
                if recorder.sampler.takes(root) {
                    recorder.parent(root, false).begin_root(kind, name)
                } else {
                    TraceSpan::default()
                }
            }
            _ => TraceSpan::default(),
        }
    }
}

impl Recorder {
    fn parent(&self, context: TraceContext, of_client: bool) -> TraceParent {
        let root = Root {
            ended: self.ended.clone(),
            metrics: self.metrics.clone(),
            of_client,
            left: AtomicUsize::new(MAX_SPANS),
        };
        TraceParent::new(context, root)
    }
}
