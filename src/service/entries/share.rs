//! The same bytes in several scopes are stored once (ADR 78).
//!
//! Uploads are not hashed on their way. Later each entry is compared with those of its repository that have the same
//! version, key and size in other scopes: contents with one digest become one content. Whoever names other bytes by the same
//! key shares nothing.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::Entries;
use crate::{
    digest::{Digest, Hasher},
    service::{
        api_error::{ApiError, ErrorKind},
        store::Entry,
    },
};

/// How many other contents an entry is compared with, at most: there is one as a rule, and each that is not known yet is
/// read.
const MAX_ALIKE: u32 = 16;

/// How fast contents are read for their digests: a disk or a link of a gigabit has most of its time for clients.
const BYTES_PER_SECOND: u64 = 32 << 20;

/// What was joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::service) struct Joined {
    /// How many contents are another by now.
    pub(in crate::service) contents: u64,
    /// How many bytes they have.
    pub(in crate::service) bytes: u64,
}

impl Entries {
    /// Compares entries that were not compared yet, if this process does that for all that share the store. Contents that
    /// nobody has any more stay for `grace`, since they may be read. May be dropped at any time; what it has found out
    /// stays known.
    pub(in crate::service) async fn share_contents(
        &self,
        grace: Duration,
    ) -> Result<Joined, ApiError> {
        let _turn = self.sharing.lock().await;
        let mut joined = Joined::default();
        if !(self.store.is_collector().await? && self.store.may_share().await?) {
            return Ok(joined);
        }
        let (mut pace, mut last) = (Pace::begin(), i64::MIN);
        loop {
            let some = self.store.uncompared(last).await?;
            let Some(end) = some.last() else {
                return Ok(joined);
            };
            last = end.position;
            for uncompared in some {
                // It may be gone by now, or share its content.
                let Some(entry) = self.store.by_id(uncompared.id).await? else {
                    continue;
                };
                match self.compare(&entry, grace, &mut pace).await {
                    Ok(true) => {
                        joined.contents += 1;
                        joined.bytes += entry.size;
                    }
                    Ok(false) => {}
                    Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
                    // Those behind it can do without it.
                    Err(error) => log_failure(&entry, &error),
                }
            }
        }
    }

    /// Compares one entry with those that it is like. True if it has the content of another now.
    async fn compare(
        &self,
        entry: &Entry,
        grace: Duration,
        pace: &mut Pace,
    ) -> Result<bool, ApiError> {
        let alike = self.store.alike(entry, MAX_ALIKE).await?;
        let own = match &alike[..] {
            [] => None,
            _ => match self.digest(entry, pace).await? {
                // It is dropped.
                None => return Ok(false),
                digest => digest,
            },
        };
        for other in alike {
            if self.digest(&other, pace).await? == own {
                let keep_until = (self.clock)().checked_add(grace);
                let keep_until = keep_until.unwrap_or(Timestamp::MAX);
                return Ok(self.store.share(entry, &other, keep_until).await?);
            }
        }
        self.store.set_compared(entry.id).await?;
        Ok(false)
    }

    /// The digest of the content of an entry; `None` if it is not all there, and the entry is dropped.
    async fn digest(&self, entry: &Entry, pace: &mut Pace) -> Result<Option<Digest>, ApiError> {
        let Some((entry, extents)) = self.store.content(entry.id).await? else {
            return Ok(None);
        };
        let known = self.store.digest(entry.content).await?;
        let range = match known {
            Some(_) => 0..0,
            None => 0..entry.size,
        };
        let content = entry.published(extents);
        let opened = self.blobs.open(entry.content, content, range).await;
        let Some(mut pieces) = self.found_intact(&entry, opened).await? else {
            return Ok(None);
        };
        if known.is_some() {
            return Ok(known);
        }
        let mut hasher = Hasher::default();
        while let Some(piece) = pieces.try_next().await? {
            hasher.update(&piece);
            pace.keep(piece.len()).await;
        }
        let digest = hasher.finish();
        self.store.set_digest(entry.content, digest).await?;
        Ok(Some(digest))
    }
}

fn log_failure(entry: &Entry, error: &ApiError) {
    let (key, scope, cause) = (&*entry.name.key, &*entry.name.scope, error.cause());
    tracing::warn!(key, scope, %error, cause, "an entry cannot be compared now");
}

/// Keeps reads at [`BYTES_PER_SECOND`], on average since its beginning.
struct Pace {
    begin: Instant,
    bytes: u64,
}

impl Pace {
    fn begin() -> Self {
        Self {
            begin: Instant::now(),
            bytes: 0,
        }
    }

    /// So many bytes were read: waits until more may be.
    async fn keep(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let due = Duration::from_millis(self.bytes * 1000 / BYTES_PER_SECOND);
        sleep_until(self.begin + due).await;
    }
}
