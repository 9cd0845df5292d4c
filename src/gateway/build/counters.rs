//! What builds and their caches came to, over all builds.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    cache::{ExportEnd, ImportSummary, NoIndex},
    stats::{self, FailedExports},
    telemetry::{BuildEnd, ExportOutcome, ImportOutcome, Metrics},
};

/// Counts what builds, their exports and their imports came to. A clone counts in the same place; the default
/// counts where nobody looks.
#[derive(Debug, Clone, Default)]
pub(super) struct BuildCounters {
    metrics: Metrics,
    failed: Arc<Mutex<FailedExports>>,
}

impl BuildCounters {
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            failed: Arc::default(),
        }
    }

    /// A build has ended.
    pub fn build(&self, outcome: stats::Outcome, took: Duration) {
        let end = match outcome {
            stats::Outcome::Ok => BuildEnd::Ok,
            stats::Outcome::Failed => BuildEnd::Failed,
            stats::Outcome::Canceled => BuildEnd::Cancelled,
        };
        self.metrics.built(end, took);
    }

    /// How many exports have failed so far.
    pub fn failed_exports(&self) -> FailedExports {
        *self.failed.lock()
    }

    /// An export has ended, or goes on after its build, or has ended after that.
    pub fn export(&self, end: ExportEnd, after_build: bool) {
        let outcome = match end {
            // Its end is still to come.
            ExportEnd::Pending => return,
            ExportEnd::Written => ExportOutcome::Written,
            ExportEnd::Unchanged => ExportOutcome::Unchanged,
            ExportEnd::Skipped => ExportOutcome::Skipped,
            ExportEnd::Cancelled => ExportOutcome::Cancelled,
            ExportEnd::Failed => {
                let mut failed = self.failed.lock();
                failed.all += 1;
                failed.after_build += u64::from(after_build);
                ExportOutcome::Failed
            }
        };
        self.metrics.export_outcome(outcome);
    }

    /// The build of an import has ended.
    pub fn import(&self, summary: &ImportSummary) {
        let outcome = match summary.no_index() {
            // What came late may have been of use to a later part of the build.
            None if summary.late && summary.layers_confirmed == 0 => ImportOutcome::Late,
            None => ImportOutcome::Found,
            Some(NoIndex::Absent) => ImportOutcome::Absent,
            Some(NoIndex::Unusable) => ImportOutcome::Unusable,
            Some(NoIndex::Failed) => ImportOutcome::Failed,
            Some(NoIndex::Late) => ImportOutcome::Late,
        };
        self.metrics.import_outcome(outcome);
    }

    /// An import was not begun.
    pub fn skipped_import(&self) {
        self.metrics.import_outcome(ImportOutcome::Skipped);
    }
}
