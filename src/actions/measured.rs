//! What measures a call until its answer was read.

use crate::telemetry::{CallTimer, trace::TraceSpan};

/// Measures a call for as long as it is kept.
pub(super) struct Measured {
    pub _timer: CallTimer,
    pub _span: TraceSpan,
}
