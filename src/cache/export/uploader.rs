//! From a layer that BuildKit wants to write to its upload.

use std::{sync::Arc, time::Duration};

use super::{
    context::ExportContext,
    layer_error::LayerError,
    schedule::Schedule,
    upload::{Share, Upload},
    uploads::Uploads,
};
use crate::{cache::spool::Spool, digest::Digest};

/// Gives the layers of one export their uploads.
pub(super) struct Uploader {
    pub context: ExportContext,
    pub schedule: Arc<Schedule>,
    pub uploads: Arc<Uploads>,
    pub spool: Spool,
    /// How long a layer waits for room in the spool.
    pub spool_wait: Duration,
}

impl Uploader {
    /// A share in the upload of a layer: in one that others have begun, which goes on for as long as
    /// this export may; else in a new one, for which there must be room in the spool.
    pub async fn share(&self, digest: Digest, size: Option<u64>) -> Result<Share, LayerError> {
        let identity = self.context.client.identity();
        let deadline = self.schedule.times().uploads;
        if let Some(share) = self.uploads.find(identity, digest, &deadline) {
            return Ok(share);
        }
        let room = size.unwrap_or(0);
        let file = self.spool.create_within(room, self.spool_wait).await?;
        // Somebody else may have begun while this export waited for room.
        let begin = || Upload::begin(self.context.clone(), deadline.clone(), digest, size, file);
        Ok((self.uploads).find_or_begin(identity, digest, &deadline, begin))
    }
}
