//! The steps of one upload: a key is found, the layer is sent under it.

use std::sync::Arc;

use super::{
    context::ExportContext,
    key_allocator::{Allocation, KeyAllocator},
    layer_error::LayerError,
    owner_wait::OwnerLimit,
};
use crate::{
    actions::{Client, Identity, Kind, Progress, Reservation},
    cache::{
        proof::Abandoned,
        report::{TransferKey, TransferProgress},
        tail::TailReader,
    },
    digest::Digest,
};

/// One upload at work.
pub(super) struct UploadTask {
    pub context: ExportContext,
    /// With the deadline and the priority of this upload.
    pub client: Client,
    pub digest: Digest,
    /// The size of the layer, where it is known.
    pub size: Option<u64>,
    /// Where its bytes are, or will be.
    pub source: Arc<TailReader>,
    /// How long the owners of its keys are waited for.
    pub owners: OwnerLimit,
}

impl UploadTask {
    /// Ends when the layer is in the cache, or will not be.
    pub async fn run(&self) -> Result<(), LayerError> {
        let owners = self.owners.clone();
        let mut keys =
            KeyAllocator::new(&self.context, &self.client, self.digest, self.size, owners);
        let mut expired = false;
        loop {
            let reservation = match keys.allocate().await? {
                Allocation::Exists => break,
                Allocation::Reserved(reservation) => reservation,
            };
            match self.send(reservation).await {
                // The service gives no other URL for this key. What was sent is in the spool yet,
                // unless others needed the room.
                Err(LayerError::Remote(e))
                    if e.kind == Kind::UrlExpired && !expired && self.source.start_over() =>
                {
                    tracing::info!(digest = %self.digest, "an upload URL has expired: starting over");
                    expired = true;
                }
                sent => {
                    sent?;
                    break;
                }
            }
        }
        self.context.blobs.prove(self.digest);
        Ok(())
    }

    /// Sends the layer under a key of ours.
    async fn send(&self, reservation: Reservation) -> Result<(), LayerError> {
        let mut guard = ReservationGuard {
            abandoned: &self.context.abandoned,
            identity: self.client.identity(),
            key: &reservation.key,
            filled: false,
        };
        let size = match self.size {
            Some(size) => size,
            None => (self.source.size().await).map_err(|_| LayerError::Interrupted)?,
        };
        let row = TransferProgress::new(
            &self.context.reporter,
            TransferKey::Upload(self.digest),
            size,
        );
        let progress: Progress = {
            let row = Arc::clone(&row);
            Arc::new(move |confirmed| row.reached(confirmed))
        };
        let bytes = Arc::clone(&self.source);
        self.client
            .upload(&reservation, size, bytes, progress)
            .await?;
        guard.filled = true;
        row.done();
        self.context.blobs.damaged_entry_replaced(self.digest);
        Ok(())
    }
}

/// Notes a reservation as abandoned if it is dropped before it was filled.
struct ReservationGuard<'a> {
    abandoned: &'a Abandoned,
    identity: &'a Identity,
    key: &'a str,
    filled: bool,
}

impl Drop for ReservationGuard<'_> {
    fn drop(&mut self) {
        if !self.filled {
            self.abandoned.note(self.identity, self.key);
        }
    }
}
