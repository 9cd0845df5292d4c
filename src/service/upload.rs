//! One upload in progress: which bytes have arrived and where in its file they lie.
//!
//! Every part gets a extent of its own at the end of the file, whatever its order: parts may come
//! in parallel, out of order and twice, and none ever overwrites another. What the entry's content
//! is in the end is a list of extents, merged where they touch.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    ops::Range,
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use super::{
    api_error::ApiError,
    config::MAX_PARTS,
    extent::{Extent, merge},
    quotas::UploadUsage,
    upload_file::UploadFile,
};

/// What makes an entry unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntryName {
    /// `owner/repo`.
    pub repository: String,
    /// The ref.
    pub scope: String,
    /// The key.
    pub key: String,
    /// The version.
    pub version: String,
}

/// A reservation and what was uploaded for it.
#[derive(Debug)]
pub struct Upload {
    /// The id of the entry to be.
    pub id: i64,
    /// Its name.
    pub name: EntryName,
    file: Arc<UploadFile>,
    state: Mutex<State>,
    commits: Mutex<()>,
}

/// Who may still do what with an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Parts are taken.
    Open,
    /// Being committed: nothing more is taken.
    Sealed,
    /// Given up, as if it had never been.
    Abandoned,
}

#[derive(Debug)]
struct State {
    /// Where the next extent begins.
    tail: u64,
    /// v1: parts by the position of their first byte in the content.
    chunks: BTreeMap<u64, Extent>,
    /// v2: staged blocks by id.
    blocks: HashMap<String, Extent>,
    /// v2: what Put Blob or Put Block List last declared to be the content.
    content: Option<Vec<Extent>>,
    phase: Phase,
    last_active: Timestamp,
    usage: UploadUsage,
}

/// A part that is on its way. What has come of it is thrown away unless it is kept.
#[derive(Debug)]
pub struct PendingPart {
    upload: Arc<Upload>,
    extent: Extent,
    kept: bool,
}

impl PendingPart {
    /// A place for a part of `len` bytes.
    pub fn begin(upload: &Arc<Upload>, len: u64, now: Timestamp) -> Result<Self, ApiError> {
        Ok(Self {
            extent: upload.allocate(len, now)?,
            upload: Arc::clone(upload),
            kept: false,
        })
    }

    /// What it is a part of.
    pub fn upload(&self) -> &Arc<Upload> {
        &self.upload
    }

    /// Where it goes.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Says that it has come: `add` notes it.
    pub fn keep(
        mut self,
        add: impl FnOnce(&Upload, Extent) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        add(&self.upload, self.extent)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for PendingPart {
    fn drop(&mut self) {
        if !self.kept {
            self.upload.lock().release(&self.upload.file, self.extent);
        }
    }
}

impl Upload {
    /// A reservation without any bytes, which counts for `usage`.
    pub fn new(id: i64, name: EntryName, file: File, now: Timestamp, usage: UploadUsage) -> Self {
        let state = State {
            tail: 0,
            chunks: BTreeMap::new(),
            blocks: HashMap::new(),
            content: None,
            phase: Phase::Open,
            last_active: now,
            usage,
        };
        Self {
            id,
            name,
            file: Arc::new(UploadFile::new(file)),
            state: Mutex::new(state),
            commits: Mutex::default(),
        }
    }

    /// The file that takes the bytes.
    pub fn file(&self) -> &Arc<UploadFile> {
        &self.file
    }

    /// Waits for the commit that is under way, if there is one, and for the next one holds back
    /// all others until the guard goes.
    pub fn commit_lock(&self) -> MutexGuard<'_, ()> {
        self.commits.lock()
    }

    /// Gives the upload up unless something has happened to it since `before`, or it is being
    /// committed: true if that was done.
    pub fn abandon_if_idle(&self, before: Timestamp) -> bool {
        let mut state = self.lock();
        let idle = state.phase == Phase::Open && state.last_active < before;
        if idle {
            state.phase = Phase::Abandoned;
        }
        idle
    }

    /// Gives the upload up unless it is being committed: true if that was done.
    pub fn abandon(&self) -> bool {
        self.abandon_if_idle(Timestamp::MAX)
    }

    fn allocate(&self, len: u64, now: Timestamp) -> Result<Extent, ApiError> {
        let mut state = self.open()?;
        let offset = state.tail;
        let tail = offset
            .checked_add(len)
            .ok_or_else(ApiError::upload_too_large)?;
        state.usage.grow(len)?;
        state.tail = tail;
        state.last_active = now;
        Ok(Extent { offset, len })
    }

    /// Refuses a v1 part that no later call of [`Self::add_chunk`] could take.
    pub fn check_chunk(&self, range: &Range<u64>) -> Result<(), ApiError> {
        self.open()?.check_chunk(range)
    }

    /// Takes a v1 part. The same range again replaces it, so that a part may be repeated whose
    /// answer was lost; any other overlap is refused.
    pub fn add_chunk(&self, range: &Range<u64>, extent: Extent) -> Result<(), ApiError> {
        let mut state = self.open()?;
        state.check_chunk(range)?;
        let replaced = state.chunks.insert(range.start, extent);
        state.replace(&self.file, replaced);
        Ok(())
    }

    /// Takes a v2 block; the same id again replaces it.
    pub fn add_block(&self, id: String, extent: Extent) -> Result<(), ApiError> {
        let mut state = self.open()?;
        if state.blocks.len() >= MAX_PARTS && !state.blocks.contains_key(&id) {
            return Err(ApiError::too_many_parts());
        }
        let replaced = state.blocks.insert(id, extent);
        state.replace(&self.file, replaced);
        Ok(())
    }

    /// Declares the blocks `ids`, in this order, to be the content. None may be named twice: a few
    /// bytes could be an entry of any size.
    pub fn set_blocks(&self, ids: &[&str]) -> Result<(), ApiError> {
        let mut state = self.open()?;
        let mut named = HashSet::with_capacity(ids.len());
        let mut extents = Vec::with_capacity(ids.len());
        for id in ids {
            extents.push(*state.blocks.get(*id).ok_or_else(ApiError::unknown_block)?);
            if !named.insert(id) {
                return Err(ApiError::repeated_block());
            }
        }
        state.content = Some(merge(extents));
        Ok(())
    }

    /// Declares one extent to be the content.
    pub fn set_content(&self, extent: Extent) -> Result<(), ApiError> {
        self.open()?.content = Some(merge([extent]));
        Ok(())
    }

    /// Lets no byte more into the file, whoever is still sending some: what is committed does not grow,
    /// and what is given up takes no room. Waits for those that are being written.
    pub fn close(&self) {
        self.file.close();
    }

    /// Ends the upload if its content has exactly `size` bytes: answers where they lie. Nothing
    /// more is taken until [`Self::unseal`].
    pub fn seal(&self, size: u64) -> Result<Vec<Extent>, ApiError> {
        let mut state = self.open()?;
        let content = match &state.content {
            Some(content) => content.clone(),
            None => state.contiguous_chunks()?,
        };
        let uploaded = content.iter().map(|extent| extent.len).sum();
        if uploaded != size {
            return Err(ApiError::size_mismatch(size, uploaded));
        }
        state.phase = Phase::Sealed;
        Ok(content)
    }

    /// Opens the upload again after its commit has failed.
    pub fn unseal(&self) {
        self.file.reopen();
        self.lock().phase = Phase::Open;
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, ApiError> {
        let state = self.lock();
        match state.phase {
            Phase::Open => Ok(state),
            Phase::Sealed => Err(ApiError::sealed()),
            Phase::Abandoned => Err(ApiError::not_found()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No method panics while it holds the lock.
        self.state.lock()
    }
}

impl State {
    /// Throws away what a part of the same place or name has come before, if nothing needs it.
    fn replace(&mut self, file: &UploadFile, replaced: Option<Extent>) {
        // A declared content may consist of it.
        if self.content.is_none()
            && let Some(extent) = replaced
        {
            self.release(file, extent);
        }
    }

    fn release(&mut self, file: &UploadFile, extent: Extent) {
        file.punch(extent);
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
