//! The end of an export: the manifest's COMMIT, which is held until the index is committed.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{
    documents::Documents,
    index_writer::{IndexWriteError, IndexWriter},
    layer_tracker::LayerTracker,
    outcome::Outcome,
    state::ExportState,
};
use crate::{
    cache::{
        report::{Event, Reporter},
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
    /// `ignore-error=false`: layers that are left out are an error, too.
    strict: bool,
    manifest: OnceLock<Digest>,
    /// What was left out, once that is known.
    left_out: OnceLock<String>,
}

impl Finisher {
    pub fn new(
        state: Arc<ExportState>,
        documents: Arc<Documents>,
        tracker: Arc<LayerTracker>,
        writer: IndexWriter,
        reporter: Arc<dyn Reporter>,
        strict: bool,
    ) -> Self {
        Self {
            state,
            documents,
            tracker,
            writer,
            reporter,
            strict,
            manifest: OnceLock::new(),
            left_out: OnceLock::new(),
        }
    }

    /// BuildKit begins to write.
    pub fn begin(&self) {
        self.writer.begin();
    }

    /// The digest of the manifest that was written, if it got that far.
    pub fn manifest(&self) -> Option<Digest> {
        self.manifest.get().copied()
    }

    /// Holds the manifest's COMMIT until the index is committed, or is not going to be.
    pub async fn finish(&self, digest: Digest, manifest: &Bytes) -> Result<(), Error> {
        self.manifest.get_or_init(|| digest);
        let outcome = match self.state.outcome() {
            Outcome::Open => tokio::select! {
                biased;
                () = self.state.cancelled() => Outcome::Cancelled,
                written = self.writer.write(manifest) => {
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
            },
            // The manifest came twice: what it came to does not change.
            ended => ended,
        };
        self.state.set_outcome(outcome.clone());
        self.answer(outcome)
    }

    /// Ends the export before its manifest has come, or while the index is written.
    pub fn cancel(&self) {
        self.state.cancel();
        self.tracker.close();
        self.documents.clear();
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
        self.reporter.report(warning.unwrap_or_else(|| {
            Event::Warning {
                short:
                    "cache export: the index was not written; the older one, if any, stays in use"
                        .to_owned(),
                detail: vec![why.clone()],
            }
        }));
        Outcome::Failed(why)
    }

    fn answer(&self, outcome: Outcome) -> Result<(), Error> {
        match outcome {
            Outcome::Failed(why) => Err(Error::Internal(why)),
            Outcome::Cancelled => self.state.check_open(),
            Outcome::Open | Outcome::Unchanged | Outcome::Nothing | Outcome::Written { .. } => {
                self.check_whole()
            }
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
