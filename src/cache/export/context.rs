//! What an upload needs.

use std::{sync::Arc, time::Duration};

use super::latest_index::LatestIndex;
use crate::{
    actions::Client,
    cache::{
        known_blobs::KnownBlobs, proof::Abandoned, report::Reporter, wait_rows::SharedWaitRow,
    },
    lifecycle::Tasks,
};

/// What an upload needs. It outlives the job that made it if another job waits for the upload.
#[derive(Clone)]
pub(in crate::cache) struct ExportContext {
    /// Without a deadline: each upload has its own.
    pub client: Client,
    /// The version of every entry.
    pub version: String,
    /// The newest index, as it was when the build began.
    pub latest: LatestIndex,
    pub blobs: KnownBlobs,
    pub abandoned: Arc<Abandoned>,
    /// How long the owner of a reservation has at least to finish.
    pub unfinished_grace: Duration,
    pub reporter: Arc<dyn Reporter>,
    /// Says that another job's upload is waited for: one row for the whole export.
    pub foreign_upload: Arc<SharedWaitRow>,
    pub tasks: Tasks,
}
