//! What the process tells of itself: logs, spans, metrics and traces.

pub mod build_info;
mod instruments;
mod logs;
mod metrics;
pub mod process;
mod read;
mod registry;
pub mod spans;
pub mod trace;

pub use instruments::{Counter, CounterFamily, HistogramFamily, InLevel, Labels, Level};
pub use logs::{FilterError, LogFormat, init};
#[cfg(test)]
pub use metrics::OPERATIONS;
pub use metrics::{
    BuildEnd, CallTimer, ExportEnd, ExportOutcome, Hit, ImportOutcome, LeftOut, Metrics, Miss,
    Outcome, SpanEnd, SpanMetrics, SpanSink, WaitCause, WaitTimer,
};
pub use read::Value;
pub use registry::{Description, Registry};
