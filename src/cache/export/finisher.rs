//! The end of an export: the manifest's COMMIT, which is held until the index is committed, or with
//! `async=true` until the next build has room in the spool.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;

use super::{
    background::Background,
    documents::Documents,
    index_order::Turn,
    index_writer::{IndexWriteError, IndexWriter},
    layer_tracker::LayerTracker,
    outcome::Outcome,
    pending::PendingExport,
    schedule::Schedule,
    state::ExportState,
};
use crate::{
    cache::{
        meter::JobMeter,
        report::{Event, Reporter},
        summary::{ExportEnd, ExportSummary},
        unreachable,
    },
    content::Error,
    digest::Digest,
};

/// Ends an export, well or not.
pub(super) struct Finisher {
    pub state: Arc<ExportState>,
    pub documents: Arc<Documents>,
    tracker: Arc<LayerTracker>,
    writer: IndexWriter,
    reporter: Arc<dyn Reporter>,
    accounts: Accounts,
    summarized: AtomicBool,
    /// `ignore-error=false`: layers that are left out are an error, too.
    strict: bool,
    /// `async=true`.
    background: Option<Background>,
    manifest: OnceLock<Digest>,
    /// What was left out, once that is known.
    left_out: OnceLock<String>,
}

/// What the summary of an export is made from.
pub(super) struct Accounts {
    /// The attribute `scope=`.
    pub scope: String,
    pub meter: Arc<JobMeter>,
    pub schedule: Arc<Schedule>,
}

impl Finisher {
    pub fn new(
        state: Arc<ExportState>,
        documents: Arc<Documents>,
        tracker: Arc<LayerTracker>,
        writer: IndexWriter,
        reporter: Arc<dyn Reporter>,
        accounts: Accounts,
        strict: bool,
    ) -> Self {
        Self {
            state,
            documents,
            tracker,
            writer,
            reporter,
            accounts,
            summarized: AtomicBool::new(false),
            strict,
            background: None,
            manifest: OnceLock::new(),
            left_out: OnceLock::new(),
        }
    }

    /// The same, which goes on after its build if there is a `background`.
    pub fn with_background(self, background: Option<Background>) -> Self {
        Self { background, ..self }
    }

    /// BuildKit begins to write.
    pub fn begin(&self) {
        self.writer.begin();
    }

    /// The digest of the manifest that was written, if it got that far.
    pub fn manifest(&self) -> Option<Digest> {
        self.manifest.get().copied()
    }

    /// True once the export goes on whatever becomes of its build.
    pub fn goes_on(&self) -> bool {
        self.background.as_ref().is_some_and(Background::has_begun)
    }

    /// How many layers are on their way.
    pub fn uploading(&self) -> usize {
        self.tracker.uploading()
    }

    /// Holds the manifest's COMMIT until the index is committed, or is not going to be. With
    /// `async=true` that goes on after the answer.
    pub async fn finish(self: &Arc<Self>, digest: Digest, manifest: &Bytes) -> Result<(), Error> {
        self.manifest.get_or_init(|| digest);
        if self.goes_on() {
            // The manifest came twice.
            return Ok(());
        }
        let turn = self.writer.turn(self.background.is_some());
        let Some((background, pending)) = self.reserve() else {
            self.write(manifest, &turn).await;
            self.reporter.flush().await;
            return self.answer(self.state.outcome());
        };
        self.report_summary(ExportEnd::Pending);
        self.reporter.flush().await;
        let (finisher, manifest) = (Arc::clone(self), manifest.clone());
        let ended = background.spawn(pending, async move {
            finisher.write(&manifest, &turn).await;
        });
        background.wait_for_room(&ended).await;
        Ok(())
    }

    /// A place among the exports that go on, if this one is to.
    fn reserve(&self) -> Option<(&Background, PendingExport)> {
        let background = self.background.as_ref()?;
        if self.state.outcome() != Outcome::Open {
            return None;
        }
        Some((background, background.reserve(&self.tracker)?))
    }

    /// Writes the index, or does not. Where the manifest came twice, what the export came to stays.
    async fn write(&self, manifest: &Bytes, turn: &Turn) {
        if self.state.outcome() != Outcome::Open {
            return;
        }
        let outcome = tokio::select! {
            biased;
            () = self.state.cancelled() => Outcome::Cancelled,
            written = self.writer.write(manifest, turn) => {
                self.release();
                match written {
                    Ok(written) => {
                        if let Some(left_out) = written.left_out {
                            let _ = self.left_out.set(left_out);
                        }
                        written.outcome
                    }
                    Err(error) => self.failed(&error),
                }
            }
        };
        // While it is open it counts as under way: who waits for that learns what it came to.
        self.summarize(&outcome);
        self.state.set_outcome(outcome);
    }

    /// Ends the export before its manifest has come, or while the index is written. One that goes on
    /// after its build does.
    pub fn cancel(&self) {
        if self.goes_on() {
            return;
        }
        self.state.cancel();
        self.tracker.close();
        self.documents.clear();
        self.summarize(&self.state.outcome());
    }

    /// Tells what the export has come to, once.
    fn summarize(&self, outcome: &Outcome) {
        if self.summarized.swap(true, Ordering::Relaxed) {
            return;
        }
        let begun = self.accounts.schedule.has_begun();
        self.report_summary(match outcome {
            Outcome::Written { .. } => ExportEnd::Written,
            Outcome::Unchanged => ExportEnd::Unchanged,
            Outcome::Superseded => ExportEnd::Skipped,
            Outcome::Open | Outcome::Cancelled if !begun => ExportEnd::Skipped,
            Outcome::Open | Outcome::Cancelled => ExportEnd::Cancelled,
            Outcome::Nothing | Outcome::Failed(_) => ExportEnd::Failed,
        });
    }

    fn report_summary(&self, state: ExportEnd) {
        let Accounts {
            scope,
            meter,
            schedule,
        } = &self.accounts;
        let (sent, counts) = (meter.arrived(), self.writer.counts());
        let named = counts.all - counts.left_out;
        let summary = ExportSummary {
            scope: scope.clone(),
            state,
            layers_sent: sent.layers,
            layers_present: named.saturating_sub(sent.layers),
            layers_left_out: counts.left_out,
            bytes_sent: sent.bytes,
            sending: sent.time,
            usage: meter.usage(),
            duration: schedule.elapsed(),
        };
        self.reporter
            .report(Event::ExportSummary(Box::new(summary)));
    }

    /// Gives back what the export holds: uploads end, their spool files go.
    fn release(&self) {
        self.tracker.clear();
        self.documents.clear();
    }

    /// BuildKit shows the error of a COMMIT on its own row, where clients count no warning.
    fn failed(&self, error: &IndexWriteError) -> Outcome {
        let why = error.to_string();
        let warning = error.remote().and_then(unreachable::warning);
        let own = || {
            let short =
                "cache export: the index was not written; the older one, if any, stays in use";
            Event::warning(short, why.clone())
        };
        self.reporter.report(warning.unwrap_or_else(own));
        Outcome::Failed(why)
    }

    fn answer(&self, outcome: Outcome) -> Result<(), Error> {
        match outcome {
            Outcome::Failed(why) => Err(Error::Internal(why)),
            Outcome::Cancelled => self.state.check_open(),
            Outcome::Open
            | Outcome::Unchanged
            | Outcome::Nothing
            | Outcome::Superseded
            | Outcome::Written { .. } => self.check_whole(),
        }
    }

    /// An error if layers were left out and the user wants to know by an error. The index names
    /// what could be saved all the same.
    fn check_whole(&self) -> Result<(), Error> {
        match self.left_out.get().filter(|_| self.strict) {
            Some(left_out) => Err(Error::Internal(left_out.clone())),
            None => Ok(()),
        }
    }
}
