//! Takes one layer from BuildKit: hashed and spooled while its upload runs, or swallowed.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Core, Failure,
    ledger::Layer,
    upload::{Share, Upload},
};
use crate::{
    cache::{
        spool::hash,
        tail::{TailError, TailWriter},
    },
    content::{Commit, Error, Ingest, IngestSpec, IngestStatus, OpenedIngest},
    digest::{Digest, Hasher},
};

/// A layer that is being written.
pub(super) struct LayerIngest {
    core: Arc<Core>,
    digest: Digest,
    status: IngestStatus,
    hasher: Hasher,
    /// `None`: nobody needs the bytes, the rest is swallowed.
    writer: Option<TailWriter>,
}

impl LayerIngest {
    /// Answers what BuildKit asks first: is it there, or is it to be written.
    pub async fn open(
        core: Arc<Core>,
        digest: Digest,
        spec: IngestSpec,
    ) -> Result<OpenedIngest, Error> {
        if core.has(digest, spec.total).await {
            core.record_layer(digest, Layer::Proven);
            return Ok(OpenedIngest::Exists(digest));
        }
        let share = match find(&core, digest) {
            Some(share) => Some(share),
            None => start(&core, digest, spec.total).await,
        };
        let writer = share.and_then(|share| {
            core.record_layer(digest, Layer::Uploading(share.upload));
            share.writer
        });
        let now = SystemTime::now();
        let status = IngestStatus {
            spec,
            offset: 0,
            started_at: now,
            updated_at: now,
        };
        Ok(OpenedIngest::Writer(Box::new(Self {
            core,
            digest,
            status,
            hasher: Hasher::default(),
            writer,
        })))
    }
}

/// A share in the upload that others have begun, which goes on for as long as this export may.
fn find(core: &Core, digest: Digest) -> Option<Share> {
    let lane = &core.lane;
    let deadline = core.times().uploads;
    let uploads = &lane.cache.uploads;
    uploads.find(lane.client.identity(), digest, &deadline)
}

/// Finds room for the layer and starts its upload, which waits for the bytes.
async fn start(core: &Core, digest: Digest, total: Option<u64>) -> Option<Share> {
    let lane = &core.lane;
    let cache = &lane.cache;
    let wait = cache.settings.spool_wait;
    let file = match cache.exports.create_within(total.unwrap_or(0), wait).await {
        Ok(file) => file,
        Err(e) => {
            give_up(core, digest, Failure::Spool(e.to_string()));
            return None;
        }
    };
    let identity = lane.client.identity();
    let deadline = core.times().uploads;
    let share = cache.uploads.join(identity, digest, deadline, |deadline| {
        let known = core.known.clone();
        Upload::start(lane.clone(), known, deadline, digest, total, file)
    });
    Some(share)
}

fn give_up(core: &Core, digest: Digest, failure: Failure) {
    tracing::debug!(%digest, %failure, "a layer is given up");
    core.record_layer(digest, Layer::Failed(failure));
}

impl Core {
    /// Whether the listing has the layer, which is a proof.
    pub(super) async fn lists(&self, digest: Digest, size: Option<u64>) -> bool {
        let Some(listing) = self.listing() else {
            return false;
        };
        let cache = &self.lane.cache;
        let row = listing.row(cache, digest).await;
        let listed = row.is_some_and(|row| size.is_none_or(|size| size == row.size));
        if listed {
            let identity = self.lane.client.identity();
            cache.proofs.note_at(identity, digest, listing.asked_at());
        }
        listed
    }

    fn record_layer(&self, digest: Digest, layer: Layer) {
        // A job that has ended waits for nothing, and must not hold what it would never let go.
        if !self.cancelled.is_cancelled() {
            self.ledger.note(digest, layer);
        }
    }
}

impl LayerIngest {
    /// Hashes bytes and brings them to the upload, as long as somebody reads there.
    async fn take(&mut self, data: Bytes) -> std::io::Result<()> {
        if self.writer.as_ref().is_some_and(TailWriter::is_abandoned) {
            // The upload has ended early: the blob is there already, or the service failed.
            self.writer = None;
        }
        let before = std::mem::take(&mut self.hasher);
        let Some(writer) = &mut self.writer else {
            self.hasher = hash(before, data).await?;
            return Ok(());
        };
        let (hasher, fed) = writer.write(before, data).await?;
        self.hasher = hasher;
        if let Err(error) = fed {
            self.writer = None;
            self.lose(&error);
        }
        Ok(())
    }

    /// Gives the layer up: its bytes are not where the upload reads.
    fn lose(&self, error: &TailError) {
        give_up(&self.core, self.digest, Failure::Spool(error.to_string()));
    }
}

#[async_trait]
impl Ingest for LayerIngest {
    fn status(&self) -> IngestStatus {
        self.status.clone()
    }

    async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.core.check_open()?;
        let len = data.len() as u64;
        self.take(data)
            .await
            .map_err(|e| Error::Internal(format!("cache export: {e}")))?;
        self.status.offset += len;
        self.status.updated_at = SystemTime::now();
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Error> {
        // Parts of it may have left, so it cannot be uploaded any more. BuildKit never does this.
        self.writer = None;
        give_up(&self.core, self.digest, Failure::Interrupted);
        self.hasher = Hasher::default();
        self.status.offset = 0;
        Ok(())
    }

    async fn commit(&mut self, commit: Commit) -> Result<Digest, Error> {
        self.core.check_open()?;
        let written = std::mem::take(&mut self.hasher).finish();
        let writer = self.writer.take();
        let total = commit.total.or(self.status.spec.total);
        check(self.digest, written, total, self.status.offset, &commit)?;
        if let Some(writer) = writer
            && let Err(error) = writer.verified(written).await
        {
            self.lose(&error);
        }
        self.core.lane.cache.delivered.note(written);
        Ok(written)
    }
}

/// That what was written is what was announced.
pub(super) fn check(
    named: Digest,
    written: Digest,
    total: Option<u64>,
    size: u64,
    commit: &Commit,
) -> Result<(), Error> {
    if let Some(total) = total.filter(|total| *total != size) {
        return Err(Error::FailedPrecondition(format!(
            "cache export: {named} has {size} bytes where {total} were announced"
        )));
    }
    for expected in [Some(named), commit.expected].into_iter().flatten() {
        if expected != written {
            return Err(Error::FailedPrecondition(format!(
                "cache export: the bytes written as {expected} are {written}"
            )));
        }
    }
    Ok(())
}
