//! A layer on its way in: parallel ranges into the spool, verified before a byte is served.
//!
//! BuildKit fails a build whose layer was promised and cannot be read, so trouble is worked
//! around for as long as there is a way, and said within a minute when there is none.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    Shared,
    blob::{FetchError, Fetched, Repair, pieces},
    lookup,
    report::{Bar, Reporter},
    spool::SpoolFile,
};
use crate::{
    actions::{self, Call, Client, Entry, Kind, Place},
    digest::{Digest, Hasher},
};

/// Content that does not match its digest is fetched so often in all, each time through a URL of
/// its own: a fault on the way is gone the second time, damage in the cache is not.
const FETCHES: usize = 2;

/// A range whose body is cut is asked for so often in all. Asking has retries of its own.
const RANGE_ATTEMPTS: usize = 4;

/// A range that has not moved for so long is given up, whatever is tried meanwhile: people are to
/// be told within a minute. It leaves room for one transfer that hangs until it is cut. A few bytes
/// are no movement: [`actions::owed`] says how many are.
const STALL: Duration = Duration::from_secs(50);

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
    /// When it has failed.
    pub deadline: Instant,
}

impl Fetch {
    /// As a future that can be shared.
    pub fn boxed(self) -> BoxFuture<'static, Fetched> {
        self.run().boxed()
    }

    /// Fetches and verifies. A promised entry that cannot be had is not promised again.
    async fn run(mut self) -> Fetched {
        let room = self.cache.imports.create(self.size);
        let file = match timeout_at(self.deadline, room).await {
            Ok(file) => file.map_err(|e| self.spool_failed(&e))?,
            Err(_) => return Err(self.spool_failed(&"there was no room in the spool in time")),
        };
        let outcome = self.verified(&file).await;
        let identity = self.client.identity();
        let (damage, key) = (&self.cache.damage, &self.entry.key);
        match &outcome {
            Ok(()) | Err(FetchError::Spool { .. } | FetchError::NotFound(_)) => {}
            Err(FetchError::Damaged { .. }) => damage.note(identity, self.digest, key),
            Err(FetchError::Remote { .. }) => damage.unreadable(identity, self.digest, key),
        }
        outcome.inspect_err(|_| self.cache.proofs.revoke(identity, self.digest))?;
        Ok(Arc::new(file))
    }

    async fn verified(&mut self, file: &SpoolFile) -> Result<(), FetchError> {
        for attempt in 1..=FETCHES {
            let written = self.download(file).await?;
            if written == self.digest {
                return Ok(());
            }
            tracing::warn!(digest = %self.digest, %written, attempt, "a fetched layer is damaged");
            if attempt < FETCHES {
                self.entry = self.found_again().await?;
            }
        }
        Err(FetchError::Damaged {
            digest: self.digest,
            key: self.entry.key.clone(),
            repair: Repair::Denied,
        })
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
        let bar = Bar::new(&self.reporter, "fetching", self.digest, self.size);
        let mut ranges = stream::iter(pieces(0..self.size, settings.range_bytes))
            .map(|range| self.range(range))
            .buffered(self.cache.ranges.most());
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
    async fn range(&self, range: Range<u64>) -> Result<(Vec<Bytes>, Place), FetchError> {
        let mut place = self.cache.ranges.enter().await;
        let pulse = Pulse::default();
        let length = range.end - range.start;
        let chunks = tokio::select! {
            chunks = self.persist(range, &pulse) => chunks,
            () = pulse.stopped(STALL) => {
                let message = format!("nothing moved for {} s", STALL.as_secs());
                Err(self.client.error(Call::Download, Kind::Timeout, &message))
            }
        };
        place.over(length, chunks.as_ref().err());
        Ok((chunks.map_err(|error| self.failed(error))?, place))
    }

    /// Asks again where the body is cut or stalls.
    async fn persist(
        &self,
        range: Range<u64>,
        pulse: &Pulse,
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
        pulse: &Pulse,
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

/// True for a body that another try may bring whole.
fn passes(kind: &Kind) -> bool {
    matches!(kind, Kind::Unreachable(_) | Kind::Transport | Kind::Timeout)
}

/// When enough last moved.
struct Pulse(Mutex<Beat>);

struct Beat {
    at: Instant,
    /// Bytes since then.
    moved: u64,
}

impl Default for Pulse {
    fn default() -> Self {
        let at = Instant::now();
        Self(Mutex::new(Beat { at, moved: 0 }))
    }
}

impl Pulse {
    fn beat(&self, bytes: usize) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.moved = last.moved.saturating_add(bytes as u64);
        if last.moved >= actions::owed(STALL) {
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
