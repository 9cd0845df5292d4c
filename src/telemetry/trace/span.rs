//! Spans that are being recorded, and those that are not, which cost nothing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use jiff::Timestamp;
use tokio::sync::mpsc::Sender;

use super::context::TraceContext;
use crate::{
    proto::trace::{
        AnyValue, KeyValue, Span, Status, any_value::Value, span::SpanKind, status::StatusCode,
    },
    telemetry::metrics::{SpanEnd, SpanMetrics, SpanSink},
};

/// Spans of one build or one connection. An export of thousands of layers makes as many calls; nobody
/// could look at a trace of all of them, and buildkitd keeps it in memory.
pub const MAX_SPANS: usize = 2000;

/// W3C's trace flags of a span that is recorded.
const SAMPLED: u32 = 1;

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedSpan {
    /// As it is sent.
    pub span: Span,
    /// It belongs to a client's trace, which buildkitd keeps with the build's history.
    pub of_client: bool,
    /// It ends what is waited for: it is sent at once, with all that ended before.
    pub flushes: bool,
}

/// What the spans of one build or one connection share.
#[derive(Debug)]
pub(super) struct Root {
    pub ended: Sender<EndedSpan>,
    pub metrics: SpanMetrics,
    pub of_client: bool,
    /// How many more there may be.
    pub left: AtomicUsize,
}

impl Root {
    /// Takes the right to one more span.
    fn admits(&self) -> bool {
        let left = |left: usize| left.checked_sub(1);
        let (order, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let admitted = self.left.fetch_update(order, failure, left).is_ok();
        if !admitted {
            self.count_dropped();
        }
        admitted
    }

    fn count_dropped(&self) {
        let sink = if self.of_client {
            SpanSink::Buildkitd
        } else {
            SpanSink::Otlp
        };
        self.metrics.count(sink, SpanEnd::Dropped, 1);
    }
}

/// What spans are begun under; nothing where nobody records. It outlives its own span.
#[derive(Debug, Clone, Default)]
pub struct TraceParent(Option<(TraceContext, Arc<Root>)>);

impl TraceParent {
    pub(super) fn new(context: TraceContext, root: Root) -> Self {
        Self(Some((context, Arc::new(root))))
    }

    /// Begins a span under this one. `name` is asked for only if it is recorded.
    pub(super) fn begin<N: Into<String>>(
        &self,
        kind: SpanKind,
        name: impl FnOnce() -> N,
    ) -> TraceSpan {
        let Some((parent, root)) = &self.0 else {
            return TraceSpan::default();
        };
        if !root.admits() {
            return TraceSpan::default();
        }
        TraceSpan::open(parent.child(), Some(*parent), root, kind, name().into())
    }

    /// Begins the first span of a trace.
    pub(super) fn begin_root(self, kind: SpanKind, name: &str) -> TraceSpan {
        let Some((context, root)) = &self.0 else {
            return TraceSpan::default();
        };
        TraceSpan::open(*context, None, root, kind, name.to_owned())
    }
}

/// A span that is being recorded, until it is dropped; or none.
#[derive(Debug, Default)]
pub struct TraceSpan(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    context: TraceContext,
    root: Arc<Root>,
    span: Span,
    flushes: bool,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeValue(Value);

impl AttributeValue {
    pub(super) fn into_value(self) -> Value {
        self.0
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self(Value::StringValue(text.to_owned()))
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self(Value::StringValue(text))
    }
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        // No count here reaches 2^63.
        Self(Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl TraceSpan {
    fn open(
        context: TraceContext,
        parent: Option<TraceContext>,
        root: &Arc<Root>,
        kind: SpanKind,
        name: String,
    ) -> Self {
        let parent = parent.map(|parent| parent.span.get().to_be_bytes().to_vec());
        let span = Span {
            trace_id: context.trace.get().to_be_bytes().to_vec(),
            span_id: context.span.get().to_be_bytes().to_vec(),
            parent_span_id: parent.unwrap_or_default(),
            name,
            kind: kind.into(),
            start_time_unix_nano: now(),
            flags: SAMPLED,
            ..Span::default()
        };
        Self(Some(Box::new(Open {
            context,
            root: Arc::clone(root),
            span,
            flushes: false,
        })))
    }

    /// What spans are begun under that belong to this one.
    pub fn parent(&self) -> TraceParent {
        let open = self.0.as_ref();
        TraceParent(open.map(|open| (open.context, Arc::clone(&open.root))))
    }

    /// Whether it is recorded: what its attributes need is worth making.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Sets an attribute. The value is made only if it is recorded.
    pub fn set<V: Into<AttributeValue>>(&mut self, key: &str, value: impl FnOnce() -> V) {
        if let Some(open) = &mut self.0 {
            let AttributeValue(value) = value().into();
            open.span.attributes.push(KeyValue {
                key: key.to_owned(),
                value: Some(AnyValue { value: Some(value) }),
            });
        }
    }

    /// Gives it the name that is known by now.
    pub fn rename(&mut self, name: impl FnOnce() -> String) {
        if let Some(open) = &mut self.0 {
            open.span.name = name();
        }
    }

    /// Says that what it stands for has failed, and why.
    pub fn fail(&mut self, why: &str) {
        if let Some(open) = &mut self.0 {
            open.span.status = Some(Status {
                message: why.to_owned(),
                code: StatusCode::Error.into(),
            });
        }
    }

    /// It is sent as soon as it ends.
    pub(super) fn flushing(mut self) -> Self {
        if let Some(open) = &mut self.0 {
            open.flushes = true;
        }
        self
    }

    /// It began at this time, in nanoseconds since 1970.
    pub(super) fn since(mut self, time: u64) -> Self {
        if let Some(open) = &mut self.0 {
            open.span.start_time_unix_nano = time;
        }
        self
    }
}

impl Drop for TraceSpan {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else {
            return;
        };
        let Open {
            root,
            mut span,
            flushes,
            ..
        } = *open;
        span.end_time_unix_nano = now();
        let ended = EndedSpan {
            span,
            of_client: root.of_client,
            flushes,
        };
        if root.ended.try_send(ended).is_err() {
            root.count_dropped();
        }
    }
}

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    // Until 2554.
    u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default()
}
