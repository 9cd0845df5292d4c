//! Traces: what a build's time went into, under the spans of the client that asked for it.
//!
//! Spans are recorded in OpenTelemetry's own form, without its libraries (ADR 57): a [`TraceSpan`] is begun
//! under a [`TraceParent`] and sent when it is dropped. Where nobody traces both are empty, and all that is
//! done with them is nothing.
//!
//! | file | what |
//! |---|---|
//! | `context`, `sampler` | which trace a span belongs to, and whether it is recorded |
//! | `span` | spans that are being recorded |
//! | `tracer` | where traces begin, and where ended spans come out |
//! | `names`, `connection` | the spans that there are |
//! | `batch`, `request` | ended spans, several at a time, as they are sent |

mod batch;
mod connection;
mod context;
mod names;
mod request;
mod sampler;
mod span;
mod tracer;

pub use batch::Batches;
pub use connection::ConnectionTrace;
pub use request::SpanSource;
pub use sampler::Sampler;
pub use span::{EndedSpan, TraceParent, TraceSpan};
pub use tracer::Tracer;

#[cfg(test)]
mod tests;
