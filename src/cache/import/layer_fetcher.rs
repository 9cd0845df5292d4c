//! Fetches the layers that BuildKit pulls, and deals with those that cannot be had.

use std::sync::Arc;

use super::{
    download::Downloader, located::LocatedLayer, prefetch::Prefetcher, repairer::Repairer,
};
use crate::cache::{
    blob::Blob,
    fetch_error::{DownloadError, FetchError, Remedy, Repair},
    known_blobs::KnownBlobs,
    meter::JobMeter,
    proof::Delivered,
    report::{Event, Reporter},
};

/// Fetches confirmed layers of one import.
pub(super) struct LayerFetcher {
    pub downloader: Downloader,
    pub prefetcher: Arc<Prefetcher>,
    pub repairer: Arc<Repairer>,
    pub blobs: KnownBlobs,
    pub delivered: Arc<Delivered>,
    pub meter: Arc<JobMeter>,
    pub reporter: Arc<dyn Reporter>,
    /// What people can do so that it does not fail again.
    pub remedy: Remedy,
}

impl LayerFetcher {
    /// The verified bytes of a layer. One download serves everybody who asks meanwhile; it ends
    /// when nobody waits any more.
    pub async fn fetch(&self, layer: &LocatedLayer) -> Result<Blob, FetchError> {
        let digest = layer.digest;
        self.meter.note_asked(digest);
        let download = if let Some(download) = self.prefetcher.take(digest) {
            download
        } else {
            if !self.is_usable(layer) {
                return Err(FetchError::NotFound(digest));
            }
            // What was verified before it was confirmed serves one pull.
            if let Some(blob) = layer.content.take() {
                self.meter.note_arrived(digest, layer.size);
                self.prefetcher.fetch_after(digest);
                return Ok(blob);
            }
            self.downloader.start(layer)
        };
        self.prefetcher.fetch_after(digest);
        match download.finish().await {
            Ok(blob) => {
                self.delivered.note(digest);
                Ok(blob)
            }
            Err(error) => Err(self.give_up(layer, error).await),
        }
    }

    /// Whether the layer has not failed since it was confirmed.
    pub fn is_usable(&self, layer: &LocatedLayer) -> bool {
        let key = &layer.entry.key;
        !self.blobs.is_quarantined(layer.digest, key)
    }

    /// Repairs what can be repaired, and says that a layer could not be had.
    async fn give_up(&self, layer: &LocatedLayer, error: DownloadError) -> FetchError {
        let repair = match &error {
            DownloadError::Damaged { key, .. } => self.repairer.repair(layer.digest, key).await,
            DownloadError::NotFound | DownloadError::Remote(_) | DownloadError::Spool(_) => {
                Repair::Denied
            }
        };
        let error = FetchError::new(layer.digest, error, repair, self.remedy);
        self.reporter.report(Event::warning(
            "cache import: a layer could not be fetched",
            error.to_string(),
        ));
        error
    }
}
