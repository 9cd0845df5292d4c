//! Takes one layer from BuildKit: hashed and spooled while its upload runs, or swallowed.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    commit_check::check_commit,
    layer_error::LayerError,
    layer_tracker::{LayerState, LayerTracker},
    presence::PresenceCheck,
    state::ExportState,
    telemetry::ExportTelemetry,
    uploader::Uploader,
};
use crate::{
    cache::{proof::Delivered, spool::hash, tail::TailWriter},
    content::{Commit, Error, Ingest, IngestSpec, IngestStatus, OpenedIngest},
    digest::{Digest, Hasher},
};

/// Takes the layers of one export.
pub(super) struct LayerReceiver {
    pub state: Arc<ExportState>,
    pub presence: PresenceCheck,
    pub uploader: Uploader,
    pub tracker: Arc<LayerTracker>,
    pub delivered: Arc<Delivered>,
    pub telemetry: Arc<ExportTelemetry>,
}

impl LayerReceiver {
    /// Answers what BuildKit asks first: is it there, or is it to be written.
    pub async fn open(
        self: &Arc<Self>,
        digest: Digest,
        spec: IngestSpec,
    ) -> Result<OpenedIngest, Error> {
        if self.presence.has(digest, spec.total).await {
            self.telemetry.has_layer();
            self.tracker.record(digest, LayerState::Proven);
            return Ok(OpenedIngest::Exists(digest));
        }
        let writer = match self.uploader.share(digest, spec.total).await {
            Ok(share) => {
                let uploading = LayerState::Uploading(share.upload);
                self.tracker.record(digest, uploading);
                share.writer
            }
            Err(error) => {
                self.give_up(digest, error);
                None
            }
        };
        let now = SystemTime::now();
        let status = IngestStatus {
            spec,
            offset: 0,
            started_at: now,
            updated_at: now,
        };
        Ok(OpenedIngest::Writer(Box::new(LayerIngest {
            receiver: Arc::clone(self),
            digest,
            status,
            hasher: Hasher::default(),
            writer,
        })))
    }

    fn give_up(&self, digest: Digest, error: LayerError) {
        tracing::debug!(%digest, %error, "a layer is given up");
        self.tracker.record(digest, LayerState::Failed(error));
    }
}

/// A layer that is being written.
struct LayerIngest {
    receiver: Arc<LayerReceiver>,
    digest: Digest,
    status: IngestStatus,
    hasher: Hasher,
    /// `None`: nobody needs the bytes, the rest is swallowed.
    writer: Option<TailWriter>,
}

impl LayerIngest {
    /// Hashes bytes and brings them to the upload, as long as somebody reads there.
    async fn take(&mut self, data: Bytes) -> std::io::Result<()> {
        if self.writer.as_ref().is_some_and(TailWriter::is_unread) {
            // The upload has ended early: the blob is there already, or the service failed.
            self.writer = None;
        }
        let before = std::mem::take(&mut self.hasher);
        let Some(writer) = &mut self.writer else {
            self.hasher = hash(before, data).await?;
            return Ok(());
        };
        let (hasher, written) = writer.write(before, data).await?;
        self.hasher = hasher;
        if let Err(error) = written {
            self.writer = None;
            self.receiver.give_up(self.digest, error.into());
        }
        Ok(())
    }
}

#[async_trait]
impl Ingest for LayerIngest {
    fn status(&self) -> IngestStatus {
        self.status.clone()
    }

    async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.receiver.state.check_open()?;
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
        self.receiver.give_up(self.digest, LayerError::Interrupted);
        self.hasher = Hasher::default();
        self.status.offset = 0;
        Ok(())
    }

    async fn commit(&mut self, commit: Commit) -> Result<Digest, Error> {
        self.receiver.state.check_open()?;
        let written = std::mem::take(&mut self.hasher).finish();
        let writer = self.writer.take();
        let total = commit.total.or(self.status.spec.total);
        check_commit(self.digest, written, total, self.status.offset, &commit)?;
        if let Some(writer) = writer
            && let Err(error) = writer.finish(written).await
        {
            self.receiver.give_up(self.digest, error.into());
        }
        self.receiver.delivered.note(written);
        Ok(written)
    }
}
