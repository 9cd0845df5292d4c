//! What the process tells of itself: logs, spans and metrics.

mod logs;
mod metrics;
mod registry;
pub mod spans;

pub use logs::{FilterError, LogFormat, init};
pub use metrics::{Metrics, Outcome};
pub use registry::{Counter, CounterFamily, Registry};
