//! Finding the key that a layer is written under.
//!
//! A key that cannot be reserved is an entry, or a reservation that somebody has not finished:
//! only a look tells. An entry that can be read is relied on. Somebody's reservation is waited
//! for, and passed over with the next number when nobody has finished it at the end of this
//! export. So is an entry that is damaged, unless it can be deleted.

use std::sync::Arc;

use super::{
    context::ExportContext,
    entry_check::{EntryCheck, EntryState},
    layer_error::LayerError,
    owner_wait::OwnerLimit,
    scopes::{reads_other_scopes, reads_own_scope},
};
use crate::{
    actions::{Client, Reservation, Reserved},
    cache::{repair, report::Wait, summary::WaitCause, wait_rows::WaitRow},
    digest::Digest,
    protocol::key::BlobKey,
};

/// Keys that are tried for one layer. Each one that is taken and unfinished was left behind by an
/// export that died; a service forgets them in time.
const MAX_KEYS: usize = 12;

/// What became of a layer's key.
pub(super) enum Allocation {
    /// The layer is in the cache already.
    Exists,
    /// A key that is ours to fill.
    Reserved(Reservation),
}

/// Allocates keys for one layer, each a number further than the last.
pub(super) struct KeyAllocator<'a> {
    context: &'a ExportContext,
    client: &'a Client,
    digest: Digest,
    check: EntryCheck<'a>,
    keys: BlobKey,
    owners: OwnerLimit,
    next: u64,
    tried: usize,
}

impl<'a> KeyAllocator<'a> {
    /// `size` is that of the layer, where it is known; `owners` says how long others are waited for.
    pub fn new(
        context: &'a ExportContext,
        client: &'a Client,
        digest: Digest,
        size: Option<u64>,
        owners: OwnerLimit,
    ) -> Self {
        Self {
            context,
            client,
            digest,
            check: EntryCheck {
                context,
                client,
                digest,
                size,
            },
            keys: BlobKey::new(digest),
            owners,
            next: 0,
            tried: 0,
        }
    }

    /// The next key of the layer that can be had, unless the layer is there.
    pub async fn allocate(&mut self) -> Result<Allocation, LayerError> {
        let token = self.client.token();
        // The indexes are awaited in any case: they say what is damaged.
        let named = self.context.latest.names(self.digest).await || reads_other_scopes(token);
        if let Some(damaged) = self.context.blobs.damaged_key(self.digest) {
            self.skip_damaged(&damaged).await;
        } else if named
            && self.tried == 0
            && matches!(self.check.look().await, Ok(EntryState::Whole))
        {
            return Ok(Allocation::Exists);
        }
        while self.tried < MAX_KEYS {
            self.tried += 1;
            let key = self.keys.entry(self.next);
            let reserved = self.client.reserve(&key, &self.context.version).await?;
            match reserved {
                Reserved::Created(reservation) => {
                    self.next += 1;
                    return Ok(Allocation::Reserved(reservation));
                }
                Reserved::ExistsAfterDoubt => self.next += 1,
                // Such a token sees no entry, nor whether somebody's upload is finished. As with stock,
                // the key counts; an import looks before it relies on the layer.
                Reserved::Exists if !reads_own_scope(token) && !self.is_abandoned(&key) => {
                    return Ok(Allocation::Exists);
                }
                Reserved::Exists => match self.look_until_over(&key).await? {
                    EntryState::Whole => return Ok(Allocation::Exists),
                    EntryState::Damaged(damaged) => self.skip_damaged(&damaged).await,
                    EntryState::Missing => self.next += 1,
                },
            }
        }
        Err(LayerError::Unfinished)
    }

    /// Whether the reservation of `key` was ours and nobody will fill it.
    fn is_abandoned(&self, key: &str) -> bool {
        let abandoned = &self.context.abandoned;
        abandoned.holds(self.client.identity(), key)
    }

    /// Goes on behind a damaged entry, or in its place if it can be deleted.
    async fn skip_damaged(&mut self, damaged: &str) {
        let number = self.keys.number(damaged).unwrap_or(0);
        let deleted = repair::delete(self.client, damaged, &self.context.version).await;
        if deleted.is_ok() {
            self.context.blobs.damaged_entry_deleted(self.digest);
            self.next = 0;
        } else {
            self.next = self.next.max(number.saturating_add(1));
        }
    }

    /// Looks for the entry until it is there, or its owner has had time enough and the export
    /// has come to its end.
    async fn look_until_over(&self, key: &str) -> Result<EntryState, LayerError> {
        // Our own reservation that was given up: there is no owner to wait for.
        let abandoned = self.context.abandoned.take(self.client.identity(), key);
        let mut wait = self.owners.wait(self.context.unfinished_grace);
        let mut shown = None;
        loop {
            let is_over = abandoned || wait.is_over();
            match self.check.look().await? {
                EntryState::Missing if !is_over => {
                    shown.get_or_insert_with(|| self.show_wait());
                    wait.pause().await;
                }
                state => return Ok(state),
            }
        }
    }

    /// Shows that somebody else's upload is waited for, one row for the whole export.
    fn show_wait(&self) -> Arc<WaitRow> {
        let (reporter, digest) = (&self.context.reporter, self.digest);
        let begin = || Wait {
            text: format!("waiting for another job to finish its upload of {digest}"),
            cause: WaitCause::OtherUpload,
            ends: None,
            over: false,
        };
        self.context.foreign_upload.show(reporter, begin)
    }
}
