//! A layer on its way in: parallel ranges into the spool, verified before a byte is served.
//!
//! BuildKit fails a build whose layer was promised and cannot be read, so trouble is worked
//! around for as long as there is a way, and said within a minute when there is none.

use std::{
    ops::Range,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    Shared,
    blob::{FetchError, Fetched, Remedy, Repair, pieces},
    lookup,
    report::{Reporter, TransferProgress},
    spool::{SpoolError, SpoolFile},
    wait_rows::WaitRow,
};
use crate::{
    actions::{self, Call, Client, Entry, Kind, Permit},
    digest::{Digest, Hasher},
};

/// Content that does not match its digest is fetched so often in all, each time through a URL of
/// its own: a fault on the way is gone the second time, damage in the cache is not.
const FETCHES: usize = 2;

/// A range whose body is cut is asked for so often in all. Asking has retries of its own.
const RANGE_ATTEMPTS: usize = 4;

/// A range that has not moved for so long is given up, whatever is tried meanwhile: people are to
/// be told within a minute. It leaves room for one transfer that hangs until it is cut. A few bytes
/// are no movement: [`actions::min_bytes`] says how many are.
const STALL: Duration = Duration::from_secs(50);

/// Room that is there is had at once; a longer wait is shown.
const ROOM_SOON: Duration = Duration::from_secs(1);

/// Room is waited for until nothing has moved in the spool for so long. A reader that stops reading
/// is cut off after two minutes, which gives room back.
const ROOM_STALL: Duration = Duration::from_secs(150);

/// How long the two calls may take that tell whether the entry or its service fails: no longer than
/// a build can be kept waiting for its error.
const CLASSIFY_TIME: Duration = Duration::from_secs(6);

/// Smaller chunks of a body are put together: a write to the spool for each would cost more than
/// the copy, and so would a list of them.
const SMALL_CHUNK: usize = 16 << 10;

/// A layer to be fetched.
pub(super) struct Fetch {
    pub cache: Arc<Shared>,
    pub client: Client,
    pub reporter: Arc<dyn Reporter>,
    pub entry: Entry,
    pub digest: Digest,
    pub size: u64,
}

impl Fetch {
    /// As a future that can be shared.
    pub fn boxed(self) -> BoxFuture<'static, Fetched> {
        self.run().boxed()
    }

    /// Fetches and verifies, for as long as bytes move. A promised entry that cannot be had is not
    /// promised again.
    async fn run(mut self) -> Fetched {
        let file = self.room().await.map_err(|e| self.spool_failed(&e))?;
        let outcome = match self.verified(&file).await {
            Err(FetchError::Remote { error, .. }) => Err(self.classify(error).await),
            outcome => outcome,
        };
        let identity = self.client.identity();
        let (damage, key) = (&self.cache.quarantine, &self.entry.key);
        match &outcome {
            Ok(()) | Err(FetchError::Spool { .. } | FetchError::NotFound(_)) => {}
            Err(FetchError::Damaged { .. }) => damage.add(identity, self.digest, key),
            Err(FetchError::Remote { .. }) => damage.unreadable(identity, self.digest, key),
        }
        outcome.inspect_err(|_| self.cache.disprove(identity, self.digest))?;
        Ok(Arc::new(file))
    }

    /// Room in the spool. Those who hold it give it back as their readers read, so it is waited for
    /// as long as anything moves there.
    async fn room(&self) -> Result<SpoolFile, SpoolError> {
        let spool = &self.cache.imports;
        let mut created = pin!(spool.create(self.size));
        if let Ok(file) = timeout(ROOM_SOON, &mut created).await {
            return file;
        }
        let name = format!(
            "waiting for room in the import spool to fetch {} ({} bytes)",
            self.digest, self.size
        );
        let _shown = WaitRow::begin(&self.reporter, name);
        loop {
            let moved = spool.moved();
            match timeout(ROOM_STALL, &mut created).await {
                Ok(file) => return file,
                Err(_) if spool.moved() == moved => return Err(spool.full()),
                Err(_) => {}
            }
        }
    }

    async fn verified(&mut self, file: &SpoolFile) -> Result<(), FetchError> {
        let mut attempt = 1;
        loop {
            let reason = match self.download(file).await {
                Ok(written) if written == self.digest => return Ok(()),
                Ok(written) => format!("its bytes are those of {written}"),
                // Something answered that is not what the entry was when it was promised.
                Err(FetchError::Remote { error, .. }) if contradicts(&error.kind) => {
                    error.to_string()
                }
                Err(error) => return Err(error),
            };
            tracing::warn!(digest = %self.digest, reason, attempt, "a fetched layer is damaged");
            if attempt == FETCHES {
                return Err(self.damaged(self.entry.key.clone(), reason));
            }
            attempt += 1;
            self.entry = self.found_again().await?;
        }
    }

    /// Tells a service that fails from an entry that does: if the service still finds the entry and
    /// answers for its first byte, the entry is damaged, and every build that relied on it would fail
    /// as this one does.
    async fn classify(&self, error: actions::Error) -> FetchError {
        if matches!(error.kind, Kind::Throttled(_)) {
            return self.failed(error);
        }
        let client = self.client.with_deadline(Instant::now() + CLASSIFY_TIME);
        let found = lookup::blob(&client, self.digest, &self.entry.version).await;
        let entry = match found {
            Ok(None) => return FetchError::NotFound(self.digest),
            Ok(Some(entry)) if entry.key == self.entry.key => entry,
            _ => return self.failed(error),
        };
        match client.probe(&entry, 1).await {
            Ok(_) => self.damaged(entry.key, error.to_string()),
            Err(probe) if contradicts(&probe.kind) || probe.kind == Kind::Incomplete => {
                self.damaged(entry.key, error.to_string())
            }
            Err(_) => self.failed(error),
        }
    }

    fn damaged(&self, key: String, reason: String) -> FetchError {
        FetchError::Damaged {
            digest: self.digest,
            key,
            reason,
            repair: Repair::Denied,
            advice: Remedy::default(),
        }
    }

    /// The layer's entry with a new URL, or what has taken its place.
    async fn found_again(&self) -> Result<Entry, FetchError> {
        let found = lookup::blob(&self.client, self.digest, &self.entry.version).await;
        found
            .map_err(|error| self.failed(error))?
            .ok_or(FetchError::NotFound(self.digest))
    }

    /// Fetches everything into `file`; the answer is the digest of what came.
    async fn download(&self, file: &SpoolFile) -> Result<Digest, FetchError> {
        let settings = &self.cache.settings;
        let bar = TransferProgress::new(&self.reporter, "fetching", self.digest, self.size);
        let mut ranges = stream::iter(pieces(0..self.size, settings.range_bytes))
            .map(|range| self.range(range))
            .buffered(self.cache.ranges.max());
        let mut hasher = Hasher::default();
        let mut offset = 0;
        while let Some((chunks, _place)) = ranges.try_next().await? {
            let length: usize = chunks.iter().map(Bytes::len).sum();
            hasher = file
                .write_hashed(offset, chunks, hasher)
                .await
                .map_err(|e| self.spool_failed(&e))?;
            offset += length as u64;
            bar.reached(offset);
        }
        bar.done();
        Ok(hasher.finish())
    }

    /// One range, whole, and its place, which bounds the memory of those that wait for their turn.
    async fn range(&self, range: Range<u64>) -> Result<(Vec<Bytes>, Permit), FetchError> {
        let mut place = self.cache.ranges.acquire().await;
        let pulse = Watchdog::default();
        let length = range.end - range.start;
        let chunks = tokio::select! {
            chunks = self.persist(range, &pulse) => chunks,
            () = pulse.stopped(STALL) => {
                let message = format!("nothing moved for {} s", STALL.as_secs());
                Err(self.client.error(Call::Download, Kind::Timeout, &message))
            }
        };
        place.record(length, chunks.as_ref().err());
        Ok((chunks.map_err(|error| self.failed(error))?, place))
    }

    /// Asks again where the body is cut or stalls.
    async fn persist(
        &self,
        range: Range<u64>,
        pulse: &Watchdog,
    ) -> Result<Vec<Bytes>, actions::Error> {
        let mut attempt = 1;
        loop {
            match self.attempt(range.clone(), pulse).await {
                // Another connection, and after a stall another URL.
                Err(e) if passes(&e.kind) && attempt < RANGE_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn attempt(
        &self,
        range: Range<u64>,
        pulse: &Watchdog,
    ) -> Result<Vec<Bytes>, actions::Error> {
        let mut chunks = Chunks::default();
        let mut body = self.client.read(&self.entry, range).await?;
        while let Some(chunk) = body.try_next().await? {
            pulse.beat(chunk.len());
            chunks.push(chunk);
        }
        Ok(chunks.finish())
    }

    fn failed(&self, error: actions::Error) -> FetchError {
        FetchError::Remote {
            digest: self.digest,
            error,
            advice: Remedy::default(),
        }
    }

    fn spool_failed(&self, reason: &dyn std::fmt::Display) -> FetchError {
        FetchError::Spool {
            digest: self.digest,
            reason: reason.to_string(),
        }
    }
}

/// Chunks as they came, without a copy; small ones together, since each has a cost of its own.
#[derive(Default)]
struct Chunks {
    whole: Vec<Bytes>,
    small: BytesMut,
}

impl Chunks {
    fn push(&mut self, chunk: Bytes) {
        if chunk.len() < SMALL_CHUNK {
            self.small.extend_from_slice(&chunk);
        } else {
            self.flush();
            self.whole.push(chunk);
        }
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.whole.push(self.small.split().freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.flush();
        self.whole
    }
}

/// True for an answer that tells of something else than what was promised.
fn contradicts(kind: &Kind) -> bool {
    matches!(kind, Kind::Protocol | Kind::NotFound | Kind::Rejected(_))
}

/// True for a body that another try may bring whole.
fn passes(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Unreachable(_) | Kind::Transport | Kind::Incomplete | Kind::Timeout
    )
}

/// When enough last moved.
struct Watchdog(Mutex<Beat>);

struct Beat {
    at: Instant,
    /// Bytes since then.
    moved: u64,
}

impl Default for Watchdog {
    fn default() -> Self {
        let at = Instant::now();
        Self(Mutex::new(Beat { at, moved: 0 }))
    }
}

impl Watchdog {
    fn beat(&self, bytes: usize) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.moved = last.moved.saturating_add(bytes as u64);
        if last.moved >= actions::min_bytes(STALL) {
            let at = Instant::now();
            *last = Beat { at, moved: 0 };
        }
    }

    /// Waits until nothing has moved for `limit`.
    async fn stopped(&self, limit: Duration) {
        loop {
            let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).at;
            if last.elapsed() >= limit {
                return;
            }
            sleep_until(last + limit).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_chunks_are_shared_and_small_ones_put_together() {
        let large = Bytes::from(vec![1; SMALL_CHUNK]);
        let small = Bytes::from_static(b"small");
        let mut chunks = Chunks::default();
        for chunk in [&small, &small, &large, &small] {
            chunks.push(chunk.clone());
        }
        let chunks = chunks.finish();
        assert_eq!(chunks, [&b"smallsmall"[..], &large, &small]);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
    }
}
