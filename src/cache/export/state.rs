//! How far an export is.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::{outcome::Outcome, telemetry::ExportTelemetry};
use crate::content::Error;

/// Whether an export is open, and what it has come to. Its writers share it.
pub(super) struct ExportState {
    outcome: Mutex<Outcome>,
    cancelled: CancellationToken,
    telemetry: Arc<ExportTelemetry>,
}

impl ExportState {
    pub fn new(telemetry: Arc<ExportTelemetry>) -> Self {
        Self {
            outcome: Mutex::new(Outcome::Open),
            cancelled: CancellationToken::new(),
            telemetry,
        }
    }

    /// BuildKit writes to the export.
    pub fn begin(&self) {
        self.telemetry.begin();
    }

    pub fn outcome(&self) -> Outcome {
        self.outcome.lock().clone()
    }

    pub fn set_outcome(&self, outcome: Outcome) {
        self.telemetry.end(&outcome);
        *self.outcome.lock() = outcome;
    }

    /// Ends the export. An outcome that it has already stays.
    pub fn cancel(&self) {
        {
            let mut outcome = self.outcome.lock();
            if *outcome == Outcome::Open {
                *outcome = Outcome::Cancelled;
                self.telemetry.end(&outcome);
            }
        }
        self.cancelled.cancel();
    }

    /// Waits until the export is cancelled.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.cancelled.cancelled()
    }

    /// An error once the export has been cancelled.
    pub fn check_open(&self) -> Result<(), Error> {
        if self.cancelled.is_cancelled() {
            return Err(Error::Aborted("the cache export has ended".into()));
        }
        Ok(())
    }
}
