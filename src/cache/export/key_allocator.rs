//! Finding the key that a layer is written under.
//!
//! A key that cannot be reserved is an entry, or a reservation that somebody has not finished:
//! only a look tells. An entry that can be read is believed. Somebody's reservation is waited
//! for, and stepped over with the next number when nobody has finished it at the end of this
//! export. So is an entry that is damaged, unless it can be deleted.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{ExportContext, Failure, latest_index::LatestIndex};
use crate::{
    actions::{Client, Reservation, Reserved},
    cache::{lookup, repair, wait_rows::WaitRow},
    digest::Digest,
    protocol::key::BlobKey,
};

/// Keys that are tried for one layer. Each one that is taken and unfinished was left behind by an
/// export that died; a service forgets them in time.
const MAX_KEYS: usize = 12;

/// The first wait for somebody's reservation; doubled each time. An upload of a small layer is
/// done in about a second.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// The longest of these waits: one lookup in 8 s is little for the service even if many layers
/// wait.
const LONGEST_LOOK: Duration = Duration::from_secs(8);

/// What became of a layer's key.
pub(super) enum Allocation {
    /// The layer is there already.
    There,
    /// A key that is ours to fill.
    Ours(Reservation),
}

/// Claims keys for one layer, each a number further than the last.
pub(super) struct KeyAllocator<'a> {
    lane: &'a ExportContext,
    client: &'a Client,
    known: &'a LatestIndex,
    digest: Digest,
    keys: BlobKey,
    /// The size of the layer, where it is known.
    size: Option<u64>,
    /// True once the export waits for nothing but its uploads.
    ending: watch::Receiver<bool>,
    next: u64,
    tried: usize,
}

/// What a look at a layer's keys has shown.
enum Seen {
    /// An entry that can be read and has the right size.
    Entry,
    /// The entry with this key is damaged.
    Damaged(String),
    Nothing,
}

impl<'a> KeyAllocator<'a> {
    pub fn new(
        lane: &'a ExportContext,
        client: &'a Client,
        known: &'a LatestIndex,
        digest: Digest,
        size: Option<u64>,
        ending: watch::Receiver<bool>,
    ) -> Self {
        Self {
            lane,
            client,
            known,
            digest,
            keys: BlobKey::new(digest),
            size,
            ending,
            next: 0,
            tried: 0,
        }
    }

    /// The next key of the layer that can be had, or the layer itself.
    pub async fn allocate(&mut self) -> Result<Allocation, Failure> {
        let identity = self.client.identity();
        // The indexes are awaited in any case: they say what is damaged.
        let named = self.known.names(self.digest).await || self.lane.reads_other_scopes();
        if let Some(damaged) = self.lane.cache.quarantine.key(identity, self.digest) {
            self.skip_damaged(&damaged).await;
        } else if named && self.tried == 0 && matches!(self.look().await, Ok(Seen::Entry)) {
            return Ok(Allocation::There);
        }
        while self.tried < MAX_KEYS {
            self.tried += 1;
            let key = self.keys.entry(self.next);
            let reserved = self.client.reserve(&key, &self.lane.version).await?;
            match reserved {
                Reserved::Created(reservation) => {
                    self.next += 1;
                    return Ok(Allocation::Ours(reservation));
                }
                Reserved::ExistsAfterDoubt => self.next += 1,
                // Such a token sees no entry, nor whether somebody's upload is finished. As with stock,
                // the key counts; an import looks before it relies on the layer.
                Reserved::Exists if self.lane.cannot_read_own_scope() && !self.is_ours(&key) => {
                    return Ok(Allocation::There);
                }
                Reserved::Exists => match self.look_until_over(&key).await? {
                    Seen::Entry => return Ok(Allocation::There),
                    Seen::Damaged(damaged) => self.skip_damaged(&damaged).await,
                    Seen::Nothing => self.next += 1,
                },
            }
        }
        Err(Failure::Unfinished)
    }

    /// Whether the reservation of `key` was ours and nobody will fill it.
    fn is_ours(&self, key: &str) -> bool {
        let abandoned = &self.lane.cache.abandoned;
        abandoned.holds(self.client.identity(), key)
    }

    /// Goes on behind a damaged entry, or in its place if it can be deleted.
    async fn skip_damaged(&mut self, damaged: &str) {
        let number = self.keys.number(damaged).unwrap_or(0);
        let deleted = repair::delete(self.client, damaged, &self.lane.version).await;
        if deleted.is_ok() {
            let (cache, identity) = (&self.lane.cache, self.client.identity());
            cache.quarantine.release(identity, self.digest);
            cache.listings.forget(identity, self.digest);
            self.next = 0;
        } else {
            self.next = self.next.max(number.saturating_add(1));
        }
    }

    /// Looks for the entry until it is there, or its owner has had time enough and the export
    /// has come to its end.
    async fn look_until_over(&mut self, key: &str) -> Result<Seen, Failure> {
        let cache = &self.lane.cache;
        // Our own reservation that was given up: there is no owner to wait for.
        let dead = cache.abandoned.take(self.client.identity(), key);
        let due = Instant::now() + cache.settings.unfinished_grace;
        let mut wait = FIRST_LOOK;
        let mut shown = None;
        loop {
            let is_over = dead || (*self.ending.borrow() && Instant::now() >= due);
            match self.look().await? {
                Seen::Nothing if !is_over => {
                    shown.get_or_insert_with(|| self.show_wait());
                    self.pause(wait, due).await;
                }
                seen => return Ok(seen),
            }
            wait = (wait * 2).min(LONGEST_LOOK);
        }
    }

    /// Waits before the next look, and no longer than until the last one is due.
    async fn pause(&mut self, wait: Duration, due: Instant) {
        let now = Instant::now();
        let until = if now < due {
            due.min(now + wait)
        } else {
            now + wait
        };
        let mut ending = self.ending.clone();
        // The end of the export matters only once the owner has had its time.
        let over = async {
            tokio::time::sleep_until(due).await;
            if ending.wait_for(|ending| *ending).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = over => {}
        }
    }

    /// Shows that somebody else's upload is waited for, one row for the whole export.
    fn show_wait(&self) -> Arc<WaitRow> {
        self.lane.foreign_upload.show(&self.lane.reporter, || {
            format!(
                "waiting for another job to finish its upload of {}",
                self.digest
            )
        })
    }

    /// Looks at the layer's entry. A wrong size counts when a URL of its own shows it again: a proxy
    /// may have answered with a page of its own.
    async fn look(&self) -> Result<Seen, Failure> {
        let mut seen = self.look_once().await?;
        if self.is_news(&seen) {
            seen = self.look_once().await?;
        }
        if let Seen::Damaged(key) = &seen
            && self.is_news(&seen)
        {
            tracing::warn!(digest = %self.digest, key, "an entry is damaged");
            let identity = self.client.identity();
            self.lane.cache.quarantine.add(identity, self.digest, key);
        }
        Ok(seen)
    }

    /// True for damage that nobody has found before.
    fn is_news(&self, seen: &Seen) -> bool {
        let known = &self.lane.cache.quarantine;
        let known = known.key(self.client.identity(), self.digest);
        matches!(seen, Seen::Damaged(key) if known.as_ref() != Some(key))
    }

    async fn look_once(&self) -> Result<Seen, Failure> {
        let version = &self.lane.version;
        let Some(entry) = lookup::blob(self.client, self.digest, version).await? else {
            return Ok(Seen::Nothing);
        };
        let known = &self.lane.cache.quarantine;
        let identity = self.client.identity();
        if known.key(identity, self.digest).as_ref() == Some(&entry.key) {
            return Ok(Seen::Damaged(entry.key));
        }
        let total = self.client.probe(&entry, 1).await?.total;
        Ok(if self.size.is_none_or(|size| size == total) {
            Seen::Entry
        } else {
            Seen::Damaged(entry.key)
        })
    }
}
