//! Layers that are downloaded and verified before they are confirmed (`import-verify=full`), so
//! that every fault is a miss.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    catalog::LayerCatalog,
    download::Downloader,
    located::LocatedLayer,
    unavailable::{LayerMismatch, Unavailable},
};
use crate::{
    cache::{
        blob::Blob,
        fetch_error::{FetchError, Remedy, Repair},
        report::{Event, Reporter},
        spool::Spool,
        unpack,
    },
    digest::Digest,
};

/// Layers that are verified before they are confirmed stay in the spool until they are pulled: they
/// may have one part in so many of it, so that other pulls have room whatever waits there.
const VERIFIED_SHARE: u64 = 2;

/// Verifies all of a layer.
pub(super) struct Verifier {
    catalog: Arc<LayerCatalog>,
    downloader: Downloader,
    spool: Spool,
    reporter: Arc<dyn Reporter>,
    reported_full_spool: AtomicBool,
}

impl Verifier {
    pub fn new(
        catalog: Arc<LayerCatalog>,
        downloader: Downloader,
        spool: Spool,
        reporter: Arc<dyn Reporter>,
    ) -> Self {
        Self {
            catalog,
            downloader,
            spool,
            reporter,
            reported_full_spool: AtomicBool::new(false),
        }
    }

    /// Downloads a layer and keeps it, as long as there is room.
    pub async fn verify(&self, layer: &LocatedLayer) -> Result<(), Unavailable> {
        if let Some(blob) = layer.content.peek() {
            return Ok(self.check_diff_id(layer.digest, &blob).await?);
        }
        let most = self.spool.capacity() / VERIFIED_SHARE;
        if self.spool.used().saturating_add(layer.size) > most {
            self.report_full_spool(layer);
            return Ok(());
        }
        let blob = self.downloader.start(layer).finish().await;
        let blob = blob.map_err(|error| {
            let error = FetchError::new(layer.digest, error, Repair::Denied, Remedy::Nothing);
            Unavailable::Unverified(Box::new(error))
        })?;
        self.check_diff_id(layer.digest, &blob).await?;
        layer.content.put(blob);
        Ok(())
    }

    /// A blob may be what its digest says and not what the index says of it: buildkitd would unpack
    /// it without a look.
    async fn check_diff_id(&self, digest: Digest, blob: &Blob) -> Result<(), LayerMismatch> {
        let actual = unpack::diff_id(blob).await?;
        let mut indexed = self.catalog.layer(digest).map(|layer| layer.diff_id);
        match indexed.find(|diff_id| *diff_id != actual) {
            None => Ok(()),
            Some(indexed) => Err(LayerMismatch::DiffId { actual, indexed }),
        }
    }

    fn report_full_spool(&self, layer: &LocatedLayer) {
        if !self.reported_full_spool.swap(true, Ordering::Relaxed) {
            self.reporter.report(Event::Note(format!(
                "import-verify=full: no room in the import spool to keep {} ({} bytes) and maybe \
                 others; they are probed instead",
                layer.digest, layer.size
            )));
        }
    }
}
