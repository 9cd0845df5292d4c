//! What builds and their caches came to, over all builds.

use std::time::Duration;

use crate::{
    cache::{ExportEnd, ImportSummary, NoIndex},
    stats,
    telemetry::{BuildEnd, ExportOutcome, ImportOutcome, Metrics},
};

/// Counts what builds, their exports and their imports came to. A clone counts in the same place; the default
/// counts where nobody looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    metrics: Metrics,
}

impl Tally {
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics }
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

    /// An export has ended, or goes on after its build.
    pub fn export(&self, end: ExportEnd) {
        let outcome = match end {
            // Its end is still to come.
            ExportEnd::Pending => return,
            ExportEnd::Written => ExportOutcome::Written,
            ExportEnd::Unchanged => ExportOutcome::Unchanged,
            ExportEnd::Skipped => ExportOutcome::Skipped,
            ExportEnd::Cancelled => ExportOutcome::Cancelled,
            ExportEnd::Failed => ExportOutcome::Failed,
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
