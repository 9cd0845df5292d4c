//! One upload in progress: which parts have arrived and where they lie.
//!
//! Parts may come in parallel, out of order and twice; the blob store gives each a place of its own. What the
//! entry's content is in the end is a list of extents, merged where they touch.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use super::{
    api_error::ApiError,
    config::MAX_PARTS,
    quotas::UploadUsage,
    store::{Entry, EntryName, Extent, Published, StagedBlob, merge},
};

/// A content that is permanent, and the entry of which nobody knows whether it was written.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    pub(super) entry: Entry,
    pub(super) published: Published,
}

/// An upload that this process takes.
pub(super) struct UploadOverview {
    pub(super) name: EntryName,
    /// Bytes that have come or are on their way. What goes to the store itself is not among them.
    pub(super) bytes: u64,
    /// Whether its client sends the bytes to the store itself.
    pub(super) direct: bool,
    /// When its key was reserved.
    pub(super) begun: Timestamp,
    /// When something has happened to it last.
    pub(super) last_active: Timestamp,
}

/// A reservation and what was uploaded for it.
#[derive(Debug)]
pub(super) struct Upload {
    /// The id of the entry to be.
    pub(super) id: i64,
    /// Its name.
    pub(super) name: EntryName,
    blob: Arc<dyn StagedBlob>,
    begun: Timestamp,
    parts: Mutex<Parts>,
    commits: tokio::sync::Mutex<Option<Unconfirmed>>,
}

/// Who may still do what with an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Parts are taken.
    Open,
    /// Being committed: nothing more is taken.
    Sealed,
    /// Nothing more is taken, since its entry may be there already: the commit can only be repeated.
    Unconfirmed,
    /// Given up, as if it had never been.
    Abandoned,
}

#[derive(Debug)]
struct Parts {
    /// v1: parts by the position of their first byte in the content.
    chunks: BTreeMap<u64, Extent>,
    /// v2: staged blocks by id.
    blocks: HashMap<String, Extent>,
    /// v2: what Put Blob or Put Block List last declared to be the content.
    content: Option<Vec<Extent>>,
    /// Whether its client was told to send the bytes to the store itself.
    direct: bool,
    phase: Phase,
    last_active: Timestamp,
    /// How many parts are on their way.
    pending: usize,
    usage: UploadUsage,
}

/// A part that is on its way. What has come of it is thrown away unless it is kept.
#[derive(Debug)]
pub(super) struct PendingPart {
    upload: Arc<Upload>,
    len: u64,
    /// Where it lies, once it has come.
    extent: Option<Extent>,
    kept: bool,
}

impl PendingPart {
    /// A part of `len` bytes that may come now.
    pub(super) fn begin(upload: &Arc<Upload>, len: u64, now: Timestamp) -> Result<Self, ApiError> {
        let mut parts = upload.open()?;
        parts.usage.grow(len)?;
        parts.last_active = now;
        parts.pending += 1;
        drop(parts);
        Ok(Self {
            upload: Arc::clone(upload),
            len,
            extent: None,
            kept: false,
        })
    }

    /// What it is a part of.
    pub(super) fn upload(&self) -> &Arc<Upload> {
        &self.upload
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Says that it has come and lies in `extent`: `add` notes it.
    pub(super) fn keep(
        mut self,
        extent: Extent,
        add: impl FnOnce(&Upload, Extent) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        self.extent = Some(extent);
        add(&self.upload, extent)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for PendingPart {
    fn drop(&mut self) {
        self.upload.parts.lock().pending -= 1;
        if self.kept {
            return;
        }
        if let Some(extent) = self.extent {
            self.upload.blob.release(extent);
        }
        self.upload.parts.lock().usage.shrink(self.len);
    }
}

impl Upload {
    /// A reservation without any bytes, which counts for `usage`.
    pub(super) fn new(
        id: i64,
        name: EntryName,
        blob: Arc<dyn StagedBlob>,
        now: Timestamp,
        usage: UploadUsage,
    ) -> Self {
        let parts = Parts {
            chunks: BTreeMap::new(),
            blocks: HashMap::new(),
            content: None,
            direct: false,
            phase: Phase::Open,
            last_active: now,
            pending: 0,
            usage,
        };
        Self {
            id,
            name,
            blob,
            begun: now,
            parts: Mutex::new(parts),
            commits: tokio::sync::Mutex::default(),
        }
    }

    /// What people see of it.
    pub(super) fn overview(&self) -> UploadOverview {
        let parts = self.parts.lock();
        UploadOverview {
            name: self.name.clone(),
            bytes: parts.usage.bytes(),
            direct: parts.direct,
            begun: self.begun,
            last_active: parts.last_active,
        }
    }

    /// What takes the bytes.
    pub(super) fn blob(&self) -> &dyn StagedBlob {
        &*self.blob
    }

    /// Waits for the commit that is under way, if there is one, and for the next one holds back
    /// all others until the guard goes. It has what the last one has made permanent, if its entry may be there or not.
    pub(super) async fn commit_lock(&self) -> tokio::sync::MutexGuard<'_, Option<Unconfirmed>> {
        self.commits.lock().await
    }

    /// Whether something has come for the upload since then, is on its way, or is being committed.
    pub(super) fn is_active(&self, since: Timestamp) -> bool {
        let parts = self.parts.lock();
        parts.phase == Phase::Sealed || parts.pending > 0 || parts.last_active >= since
    }

    /// Gives the upload up unless something has happened to it since `before`, or it is being
    /// committed: true if that was done.
    pub(super) fn abandon_if_idle(&self, before: Timestamp) -> bool {
        let mut parts = self.parts.lock();
        let waits = matches!(parts.phase, Phase::Open | Phase::Unconfirmed);
        let idle = waits && parts.last_active < before;
        if idle {
            parts.phase = Phase::Abandoned;
        }
        idle
    }

    /// Gives the upload up unless it is being committed: true if that was done.
    pub(super) fn abandon(&self) -> bool {
        self.abandon_if_idle(Timestamp::MAX)
    }

    /// Refuses a v1 part that no later call of [`Self::add_chunk`] could take.
    pub(super) fn check_chunk(&self, range: &Range<u64>) -> Result<(), ApiError> {
        self.open()?.check_chunk(range)
    }

    /// Takes a v1 part. The same range again replaces it, so that a part may be repeated whose
    /// answer was lost; any other overlap is refused.
    pub(super) fn add_chunk(&self, range: &Range<u64>, extent: Extent) -> Result<(), ApiError> {
        let mut parts = self.open()?;
        parts.check_chunk(range)?;
        let replaced = parts.chunks.insert(range.start, extent);
        parts.replace(&*self.blob, replaced);
        Ok(())
    }

    /// Takes a v2 block; the same id again replaces it.
    pub(super) fn add_block(&self, id: String, extent: Extent) -> Result<(), ApiError> {
        let mut parts = self.open()?;
        if parts.blocks.len() >= MAX_PARTS && !parts.blocks.contains_key(&id) {
            return Err(ApiError::too_many_parts());
        }
        let replaced = parts.blocks.insert(id, extent);
        parts.replace(&*self.blob, replaced);
        Ok(())
    }

    /// Declares the blocks `ids`, in this order, to be the content. None may be named twice: a few
    /// bytes could be an entry of any size.
    pub(super) fn set_blocks(&self, ids: &[&str]) -> Result<(), ApiError> {
        let mut parts = self.open()?;
        let mut named = HashSet::with_capacity(ids.len());
        let mut extents = Vec::with_capacity(ids.len());
        for id in ids {
            extents.push(*parts.blocks.get(*id).ok_or_else(ApiError::unknown_block)?);
            if !named.insert(id) {
                return Err(ApiError::repeated_block());
            }
        }
        parts.content = Some(merge(extents));
        Ok(())
    }

    /// Declares one extent to be the content.
    pub(super) fn set_content(&self, extent: Extent) -> Result<(), ApiError> {
        self.open()?.content = Some(merge([extent]));
        Ok(())
    }

    /// Says that its client sends the bytes to the store itself, until `end`.
    pub(super) fn expect_direct(&self, end: Timestamp) {
        let mut parts = self.parts.lock();
        parts.direct = true;
        parts.last_active = end;
    }

    /// Ends the upload as [`Self::seal`] does if its bytes were to come to the store itself: true if that was done.
    pub(super) fn seal_direct(&self) -> Result<bool, ApiError> {
        let mut parts = self.open()?;
        if parts.direct {
            parts.phase = Phase::Sealed;
        }
        Ok(parts.direct)
    }

    /// Ends the upload if its content has exactly `size` bytes: answers where they lie. Nothing
    /// more is taken until [`Self::unseal`].
    pub(super) fn seal(&self, size: u64) -> Result<Vec<Extent>, ApiError> {
        let mut parts = self.open()?;
        let content = match &parts.content {
            Some(content) => content.clone(),
            None => parts.contiguous_chunks()?,
        };
        let uploaded = content.iter().map(|extent| extent.len).sum();
        if uploaded != size {
            return Err(ApiError::size_mismatch(size, uploaded));
        }
        parts.phase = Phase::Sealed;
        Ok(content)
    }

    /// Begins a commit of `size` bytes again whose content is permanent already, with `published` bytes.
    pub(super) fn seal_again(&self, size: u64, published: u64) -> Result<(), ApiError> {
        let mut parts = self.parts.lock();
        if parts.phase == Phase::Abandoned {
            return Err(ApiError::not_found());
        }
        if size != published {
            return Err(ApiError::size_mismatch(size, published));
        }
        parts.phase = Phase::Sealed;
        Ok(())
    }

    /// Says that nobody knows whether the entry was written.
    pub(super) fn mark_unconfirmed(&self) {
        self.parts.lock().phase = Phase::Unconfirmed;
    }

    /// Whether nothing of a content was ever uploaded, also no empty one. Blocks are none before a list names them. What
    /// came to the store itself only the store knows.
    pub(super) fn has_nothing(&self) -> bool {
        let parts = self.parts.lock();
        !parts.direct && parts.content.is_none() && parts.chunks.is_empty()
    }

    /// Opens the upload again after its commit has failed.
    pub(super) fn unseal(&self) {
        self.parts.lock().phase = Phase::Open;
    }

    fn open(&self) -> Result<MutexGuard<'_, Parts>, ApiError> {
        let parts = self.parts.lock();
        match parts.phase {
            Phase::Open => Ok(parts),
            Phase::Sealed | Phase::Unconfirmed => Err(ApiError::sealed()),
            Phase::Abandoned => Err(ApiError::not_found()),
        }
    }
}

impl Parts {
    /// Throws away what a part of the same place or name has come before, if nothing needs it.
    fn replace(&mut self, blob: &dyn StagedBlob, replaced: Option<Extent>) {
        // A declared content may consist of it.
        if self.content.is_none()
            && let Some(extent) = replaced
        {
            self.release(blob, extent);
        }
    }

    fn release(&mut self, blob: &dyn StagedBlob, extent: Extent) {
        blob.release(extent);
        self.usage.shrink(extent.len);
    }

    fn check_chunk(&self, range: &Range<u64>) -> Result<(), ApiError> {
        let len = range.end - range.start;
        if self.chunks.get(&range.start).is_some_and(|r| r.len == len) {
            return Ok(());
        }
        if self.chunks.len() >= MAX_PARTS {
            return Err(ApiError::too_many_parts());
        }
        // Stored parts do not overlap, so only the last that begins before the end can be in the way.
        let before = self.chunks.range(..range.end).next_back();
        match before {
            Some((start, extent)) if start + extent.len > range.start => Err(ApiError::overlap()),
            _ => Ok(()),
        }
    }

    fn contiguous_chunks(&self) -> Result<Vec<Extent>, ApiError> {
        let mut end = 0;
        for (start, extent) in &self.chunks {
            if *start != end {
                return Err(ApiError::gap(end));
            }
            end = start + extent.len;
        }
        Ok(merge(self.chunks.values().copied()))
    }
}
