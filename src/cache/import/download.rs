//! Downloads of layers: parallel ranges into the spool, verified before a byte is served.
//!
//! BuildKit fails a build whose layer was confirmed and cannot be read, so trouble is worked
//! around for as long as there is a way, and people are told within a minute when there is none.

use std::{ops::Range, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, timeout};

mod chunks;
mod watchdog;

use self::{chunks::Chunks, watchdog::Watchdog};
use super::located::LocatedLayer;
use crate::{
    actions::{self, AdaptiveConcurrency, Call, Client, Entry, Identity, Kind, Permit},
    cache::{
        blob::{Blob, Fetched, pieces},
        fetch_error::{Damage, DownloadError},
        known_blobs::KnownBlobs,
        lookup,
        report::{Reporter, TransferKey, TransferProgress},
        single_flight::{SharedFuture, SingleFlight},
        spool::{Spool, SpoolError, SpoolFile},
        summary::WaitCause,
        wait_rows::WaitRow,
    },
    digest::{Digest, Hasher},
};

/// Content that does not match its digest is fetched so often in all, each time through a URL of
/// its own: a fault on the way is gone the second time, damage in the cache is not.
const FETCHES: usize = 2;

/// A range whose body is cut is asked for so often in all. Asking has retries of its own.
const RANGE_ATTEMPTS: usize = 4;

/// A range that has not moved for so long is given up, whatever is tried meanwhile: people are to
/// be told within a minute. It leaves room for one transfer that hangs until it is cut.
const STALL: Duration = Duration::from_secs(50);

/// Room that is there is had at once; a longer wait is shown.
const ROOM_SOON: Duration = Duration::from_secs(1);

/// Room is waited for until nothing has moved in the spool for so long. A reader that stops reading
/// is cut off after two minutes, which gives room back.
const ROOM_STALL: Duration = Duration::from_secs(150);

/// How long the two calls may take that show whether the entry or its service fails: no longer than
/// a build can be kept waiting for its error.
const CLASSIFY_TIME: Duration = Duration::from_secs(6);

/// Downloads layers into the import spool. A clone is the same downloader.
#[derive(Clone)]
pub(super) struct Downloader {
    /// Insists: a build fails without these bytes.
    pub client: Client,
    pub reporter: Arc<dyn Reporter>,
    pub blobs: KnownBlobs,
    pub spool: Spool,
    /// Ranged reads of the process in flight.
    pub ranges: AdaptiveConcurrency,
    /// Size of one ranged read.
    pub range_bytes: u64,
    /// The downloads of the process.
    pub in_flight: Arc<SingleFlight<(Identity, Digest), Fetched>>,
}

impl Downloader {
    /// The download of a layer, which all who want it share. It moves while somebody awaits it.
    pub fn start(&self, layer: &LocatedLayer) -> Download {
        let task = DownloadTask {
            context: self.clone(),
            entry: layer.entry.clone(),
            digest: layer.digest,
            size: layer.size,
        };
        let key = (self.client.identity().clone(), layer.digest);
        Download {
            size: layer.size,
            outcome: self.in_flight.join(key, || task.run().boxed()),
        }
    }
}

/// A share in the download of a layer. The download ends with the last one.
#[derive(Clone)]
pub(super) struct Download {
    size: u64,
    outcome: SharedFuture<Fetched>,
}

impl Download {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Waits for the verified layer.
    pub async fn finish(self) -> Result<Blob, DownloadError> {
        let file = self.outcome.clone().await?;
        Ok(Blob::spooled(self.size, file, self.outcome))
    }
}

/// One layer that is downloaded.
struct DownloadTask {
    context: Downloader,
    entry: Entry,
    digest: Digest,
    size: u64,
}

impl DownloadTask {
    /// Downloads and verifies, for as long as bytes move. An entry that cannot be had is not
    /// confirmed again.
    async fn run(mut self) -> Fetched {
        let file = self.wait_for_room().await?;
        let outcome = match self.download_verified(&file).await {
            Err(DownloadError::Remote(error)) => Err(self.classify(error).await),
            outcome => outcome,
        };
        if let Err(error) = &outcome {
            self.note_failure(error);
        }
        outcome.map(|()| Arc::new(file))
    }

    fn note_failure(&self, error: &DownloadError) {
        let (blobs, key) = (&self.context.blobs, &self.entry.key);
        match error {
            DownloadError::Damaged { .. } => blobs.add_damaged(self.digest, key),
            DownloadError::Remote(_) => blobs.add_unreadable(self.digest, key),
            DownloadError::NotFound | DownloadError::Spool(_) => {}
        }
        blobs.disprove(self.digest);
    }

    /// Room in the spool. Those who hold it give it back as their readers read, so it is waited for
    /// as long as anything moves there.
    async fn wait_for_room(&self) -> Result<SpoolFile, SpoolError> {
        let spool = &self.context.spool;
        let mut created = pin!(spool.create(self.size));
        if let Ok(file) = timeout(ROOM_SOON, &mut created).await {
            return file;
        }
        let name = format!(
            "waiting for room in the import spool to fetch {} ({} bytes)",
            self.digest, self.size
        );
        let _row = WaitRow::open_ended(&self.context.reporter, WaitCause::SpoolRoom, name);
        loop {
            let before = spool.activity();
            match timeout(ROOM_STALL, &mut created).await {
                Ok(file) => return file,
                Err(_) if spool.activity() == before => return Err(spool.full()),
                Err(_) => {}
            }
        }
    }

    async fn download_verified(&mut self, file: &SpoolFile) -> Result<(), DownloadError> {
        let mut attempt = 1;
        loop {
            let reason = match self.download(file).await {
                Ok(written) if written == self.digest => return Ok(()),
                Ok(written) => Damage::OtherContent(written),
                // Something answered that is not what the entry was when it was confirmed.
                Err(DownloadError::Remote(error)) if is_about_the_entry(&error.kind) => {
                    Damage::NoContent(Box::new(error))
                }
                Err(error) => return Err(error),
            };
            tracing::warn!(digest = %self.digest, %reason, attempt, "a fetched layer is damaged");
            if attempt == FETCHES {
                let key = self.entry.key.clone();
                return Err(DownloadError::Damaged { key, reason });
            }
            attempt += 1;
            self.entry = self.find_again().await?;
        }
    }

    /// Tells a service that fails from an entry that does: if the service still finds the entry and
    /// answers for its first byte, the entry is damaged, and every build that relied on it would fail
    /// as this one does.
    async fn classify(&self, error: actions::Error) -> DownloadError {
        if matches!(error.kind, Kind::Throttled(_)) {
            return error.into();
        }
        let client = &self.context.client;
        let client = client.with_deadline(Instant::now() + CLASSIFY_TIME);
        let found = lookup::blob(&client, self.digest, &self.entry.version).await;
        let entry = match found {
            Ok(None) => return DownloadError::NotFound,
            Ok(Some(entry)) if entry.key == self.entry.key => entry,
            _ => return error.into(),
        };
        let is_damaged = match client.probe(&entry, 1).await {
            Ok(_) => true,
            Err(probe) => is_about_the_entry(&probe.kind) || probe.kind == Kind::Incomplete,
        };
        if !is_damaged {
            return error.into();
        }
        DownloadError::Damaged {
            key: entry.key,
            reason: Damage::NoContent(Box::new(error)),
        }
    }

    /// The layer's entry with a new URL, or what has taken its place.
    async fn find_again(&self) -> Result<Entry, DownloadError> {
        let client = &self.context.client;
        let found = lookup::blob(client, self.digest, &self.entry.version).await?;
        found.ok_or(DownloadError::NotFound)
    }

    /// Downloads everything into `file`; the answer is the digest of what came.
    async fn download(&self, file: &SpoolFile) -> Result<Digest, DownloadError> {
        let context = &self.context;
        let progress = TransferProgress::new(
            &context.reporter,
            TransferKey::Download(self.digest),
            self.size,
        );
        let mut ranges = stream::iter(pieces(0..self.size, context.range_bytes))
            .map(|range| self.range(range))
            .buffered(context.ranges.max());
        let mut hasher = Hasher::default();
        let mut offset = 0;
        while let Some((chunks, _permit)) = ranges.try_next().await? {
            let length: usize = chunks.iter().map(Bytes::len).sum();
            hasher = file.write_hashed(offset, chunks, hasher).await?;
            offset += length as u64;
            progress.reached(offset);
        }
        progress.done();
        Ok(hasher.finish())
    }

    /// One range, whole, and its permit, which bounds the memory of those that wait for their turn.
    async fn range(&self, range: Range<u64>) -> Result<(Vec<Bytes>, Permit), actions::Error> {
        let mut permit = self.context.ranges.acquire().await;
        let watchdog = Watchdog::new(STALL);
        let length = range.end - range.start;
        let chunks = tokio::select! {
            chunks = self.retried(range, &watchdog) => chunks,
            () = watchdog.stalled() => {
                let message = format!("nothing moved for {} s", STALL.as_secs());
                Err(self.context.client.error(Call::Download, Kind::Timeout, &message))
            }
        };
        permit.record(length, chunks.as_ref().err());
        Ok((chunks?, permit))
    }

    /// Asks again where the body is cut or stalls.
    async fn retried(
        &self,
        range: Range<u64>,
        watchdog: &Watchdog,
    ) -> Result<Vec<Bytes>, actions::Error> {
        let mut attempt = 1;
        loop {
            match self.attempt(range.clone(), watchdog).await {
                // Another connection, and after a stall another URL.
                Err(e) if is_transient(&e.kind) && attempt < RANGE_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn attempt(
        &self,
        range: Range<u64>,
        watchdog: &Watchdog,
    ) -> Result<Vec<Bytes>, actions::Error> {
        let mut chunks = Chunks::default();
        let mut body = self.context.client.read(&self.entry, range).await?;
        while let Some(chunk) = body.try_next().await? {
            watchdog.record(chunk.len());
            chunks.push(chunk);
        }
        Ok(chunks.finish())
    }
}

/// True where the service works, and the entry is not what it was when it was confirmed.
fn is_about_the_entry(kind: &Kind) -> bool {
    matches!(kind, Kind::Protocol | Kind::NotFound | Kind::Rejected(_))
}

/// True for a body that another try may bring whole.
fn is_transient(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Unreachable(_) | Kind::Transport | Kind::Incomplete | Kind::Timeout
    )
}
