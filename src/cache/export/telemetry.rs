//! What metrics and traces learn of one export.

use parking_lot::Mutex;
use tokio::time::Instant;

use super::outcome::Outcome;
use crate::telemetry::{
    ExportEnd, Hit, LeftOut, Metrics,
    trace::{TraceParent, TraceSpan},
};

/// Tells metrics and traces of one export: when BuildKit begins to write, and what it came to.
pub(in crate::cache) struct ExportTelemetry {
    metrics: Metrics,
    under: TraceParent,
    open: Mutex<Option<Open>>,
}

/// An export that has not ended.
struct Open {
    export: TraceSpan,
    /// Once BuildKit has begun to write.
    writing: Option<(Instant, TraceSpan)>,
}

impl ExportTelemetry {
    /// An export that stands in this span.
    pub fn new(metrics: Metrics, export: TraceSpan) -> Self {
        Self {
            metrics,
            under: export.parent(),
            open: Mutex::new(Some(Open {
                export,
                writing: None,
            })),
        }
    }

    /// BuildKit writes; the first time counts.
    pub fn begin(&self) {
        if let Some(open) = &mut *self.open.lock() {
            let begin = || (Instant::now(), self.under.write());
            open.writing.get_or_insert_with(begin);
        }
    }

    /// A layer need not be sent.
    pub fn has_layer(&self) {
        self.metrics.hit(Hit::ExportedLayer);
    }

    /// The index is written without so many layers.
    pub fn left_out(&self, cause: LeftOut, layers: usize) {
        self.metrics.left_out(cause, layers);
    }

    /// The export has come to this; the first time counts.
    pub fn end(&self, outcome: &Outcome) {
        let Some(mut open) = self.open.lock().take() else {
            return;
        };
        let end = match outcome {
            Outcome::Open => return,
            Outcome::Cancelled => ExportEnd::Cancelled,
            Outcome::Unchanged => ExportEnd::Unchanged,
            Outcome::Nothing => ExportEnd::Nothing,
            Outcome::Superseded => ExportEnd::Superseded,
            Outcome::Written { .. } => ExportEnd::Written,
            Outcome::Failed(_) => ExportEnd::Failed,
        };
        open.export.set("buildkit_gha.outcome", || end.name());
        match outcome {
            Outcome::Written {
                layers, left_out, ..
            } => {
                let (layers, left_out) = (*layers as u64, *left_out as u64);
                open.export.set("buildkit_gha.layers", || layers);
                open.export.set("buildkit_gha.layers_left_out", || left_out);
            }
            Outcome::Failed(why) => open.export.fail(why),
            _ => {}
        }
        // An empty result is never written.
        if let Some((begun, _)) = &open.writing {
            self.metrics.exported(end, begun.elapsed());
        }
    }
}
