//! What the parts of an export are made from.

use std::{sync::Arc, time::Duration};

use super::{
    context::ExportContext,
    index_order::IndexOrders,
    latest_index::LatestIndex,
    layer_lookup::{LayerLookup, Lookups},
    pending::PendingExports,
    previous_index::IndexReader,
    scopes::IndexKeys,
    telemetry::ExportTelemetry,
    uploads::Uploads,
};
use crate::{
    actions::Client,
    cache::{
        known_blobs::KnownBlobs,
        meter::JobMeter,
        proof::{Abandoned, Delivered},
        report::Reporter,
        spool::Spool,
    },
    lifecycle::Tasks,
};

/// What belongs to one export, and what it shares with all jobs of the process. Each part takes out of
/// it what it needs when it is made; those of a relay are made with its first call.
pub(in crate::cache) struct ExportResources {
    /// Without a deadline.
    pub client: Client,
    pub version: String,
    pub keys: IndexKeys,
    pub reporter: Arc<dyn Reporter>,
    /// What it counts as it runs.
    pub meter: Arc<JobMeter>,
    pub tasks: Tasks,
    pub spool: Spool,
    pub blobs: KnownBlobs,
    pub abandoned: Arc<Abandoned>,
    pub delivered: Arc<Delivered>,
    pub uploads: Arc<Uploads>,
    pub lookups: Arc<Lookups>,
    pub pending: Arc<PendingExports>,
    pub orders: Arc<IndexOrders>,
    pub limits: ExportLimits,
    pub telemetry: Arc<ExportTelemetry>,
}

/// The settings that concern an export.
#[derive(Clone, Copy)]
pub(in crate::cache) struct ExportLimits {
    /// How long a layer waits for room in the spool.
    pub spool_wait: Duration,
    /// How long the owner of a reservation has at least to finish.
    pub unfinished_grace: Duration,
    /// Lookups in flight.
    pub parallel_lookups: usize,
}

impl ExportResources {
    pub fn index_reader(&self) -> IndexReader {
        IndexReader::new(self.version.clone(), Arc::clone(&self.blobs.quarantine))
    }

    /// The newest index, which `client` begins to read now.
    pub fn begin_latest_index(&self, client: Client) -> LatestIndex {
        LatestIndex::begin(self.index_reader(), &self.keys, &self.tasks, client)
    }

    pub fn layer_lookup(&self) -> LayerLookup {
        LayerLookup::new(
            self.client.clone(),
            self.version.clone(),
            self.blobs.clone(),
            Arc::clone(&self.lookups),
        )
    }

    /// The context of uploads that know this index.
    pub fn context(&self, latest: LatestIndex) -> ExportContext {
        ExportContext {
            client: self.client.clone(),
            version: self.version.clone(),
            latest,
            blobs: self.blobs.clone(),
            abandoned: Arc::clone(&self.abandoned),
            unfinished_grace: self.limits.unfinished_grace,
            reporter: Arc::clone(&self.reporter),
            foreign_upload: Arc::default(),
            tasks: self.tasks.clone(),
        }
    }
}
