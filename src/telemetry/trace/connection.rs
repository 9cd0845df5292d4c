//! The span of a connection, which has no trace of its own: it belongs to that of its first call.

use parking_lot::Mutex;

use super::{
    span::{TraceSpan, now},
    tracer::Tracer,
};

/// The span of a connection that was just accepted; it ends when this is dropped.
#[derive(Debug)]
pub struct ConnectionTrace {
    tracer: Tracer,
    peer: String,
    accepted: u64,
    /// `None` before the first call that belongs to a trace.
    span: Mutex<Option<TraceSpan>>,
}

impl ConnectionTrace {
    /// A connection of `peer`.
    pub fn new(tracer: &Tracer, peer: &str) -> Self {
        Self {
            tracer: tracer.clone(),
            peer: peer.to_owned(),
            accepted: now(),
            span: Mutex::default(),
        }
    }

    /// A call has come, with this `traceparent`.
    pub fn called(&self, traceparent: Option<&str>) {
        // A connection whose calls belong to no trace is worth none.
        let Some(traceparent) = traceparent else {
            return;
        };
        self.span.lock().get_or_insert_with(|| {
            let (peer, accepted) = (&self.peer, self.accepted);
            self.tracer.connection(Some(traceparent), peer, accepted)
        });
    }
}
