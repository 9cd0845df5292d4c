//! One upload in progress: which bytes have arrived and where in its file they lie.
//!
//! Every part gets a region of its own at the end of the file, whatever its order: parts may come
//! in parallel, out of order and twice, and none ever overwrites another. What the entry's content
//! is in the end is a list of regions, merged where they touch.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::{config::MAX_PARTS, error::Error, file::UploadFile};

/// What makes an entry unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// `owner/repo`.
    pub repository: String,
    /// The ref.
    pub scope: String,
    /// The key.
    pub key: String,
    /// The version.
    pub version: String,
}

/// Some bytes in a content file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Region {
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub len: u64,
}

impl From<(u64, u64)> for Region {
    fn from((offset, len): (u64, u64)) -> Self {
        Self { offset, len }
    }
}

impl From<Region> for (u64, u64) {
    fn from(region: Region) -> Self {
        (region.offset, region.len)
    }
}

/// A reservation and what was uploaded for it.
#[derive(Debug)]
pub struct Upload {
    /// The id of the entry to be.
    pub id: i64,
    /// Its name.
    pub name: Name,
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
    /// Where the next region begins.
    tail: u64,
    /// v1: parts by the position of their first byte in the content.
    chunks: BTreeMap<u64, Region>,
    /// v2: staged blocks by id.
    blocks: HashMap<String, Region>,
    /// v2: what Put Blob or Put Block List last declared to be the content.
    content: Option<Vec<Region>>,
    phase: Phase,
    last_active: Timestamp,
}

impl Upload {
    /// A reservation without any bytes.
    pub fn new(id: i64, name: Name, file: File, now: Timestamp) -> Self {
        let state = State {
            tail: 0,
            chunks: BTreeMap::new(),
            blocks: HashMap::new(),
            content: None,
            phase: Phase::Open,
            last_active: now,
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
    pub fn commit_turn(&self) -> MutexGuard<'_, ()> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A place for a part of `len` bytes.
    pub fn allocate(&self, len: u64, now: Timestamp) -> Result<Region, Error> {
        let mut state = self.open()?;
        let offset = state.tail;
        state.tail = offset.checked_add(len).ok_or(Error::TooLarge)?;
        state.last_active = now;
        Ok(Region { offset, len })
    }

    /// Refuses a v1 part that no later call of [`Self::add_chunk`] could take.
    pub fn check_chunk(&self, range: &Range<u64>) -> Result<(), Error> {
        self.open()?.check_chunk(range)
    }

    /// Takes a v1 part. The same range again replaces it, so that a part may be repeated whose
    /// answer was lost; any other overlap is refused.
    pub fn add_chunk(&self, range: &Range<u64>, region: Region) -> Result<(), Error> {
        let mut state = self.open()?;
        state.check_chunk(range)?;
        state.chunks.insert(range.start, region);
        Ok(())
    }

    /// Takes a v2 block; the same id again replaces it.
    pub fn add_block(&self, id: String, region: Region) -> Result<(), Error> {
        let mut state = self.open()?;
        if state.blocks.len() >= MAX_PARTS && !state.blocks.contains_key(&id) {
            return Err(Error::TooManyParts);
        }
        state.blocks.insert(id, region);
        Ok(())
    }

    /// Declares the blocks `ids`, in this order, to be the content.
    pub fn set_blocks(&self, ids: &[String]) -> Result<(), Error> {
        let mut state = self.open()?;
        let find = |id| state.blocks.get(id).copied().ok_or(Error::UnknownBlock);
        let regions = ids.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        state.content = Some(merge(regions));
        Ok(())
    }

    /// Declares one region to be the content.
    pub fn set_content(&self, region: Region) -> Result<(), Error> {
        self.open()?.content = Some(merge([region]));
        Ok(())
    }

    /// Ends the upload if its content has exactly `size` bytes: answers where they lie. Nothing
    /// more is taken until [`Self::unseal`].
    pub fn seal(&self, size: u64) -> Result<Vec<Region>, Error> {
        let mut state = self.open()?;
        let content = match &state.content {
            Some(content) => content.clone(),
            None => state.contiguous_chunks()?,
        };
        let uploaded = content.iter().map(|region| region.len).sum();
        if uploaded != size {
            return Err(Error::Size {
                said: size,
                uploaded,
            });
        }
        state.phase = Phase::Sealed;
        Ok(content)
    }

    /// Opens the upload again after its commit has failed.
    pub fn unseal(&self) {
        self.lock().phase = Phase::Open;
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.lock();
        match state.phase {
            Phase::Open => Ok(state),
            Phase::Sealed => Err(Error::Sealed),
            Phase::Abandoned => Err(Error::NotFound),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No method panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_chunk(&self, range: &Range<u64>) -> Result<(), Error> {
        let len = range.end - range.start;
        if self.chunks.get(&range.start).is_some_and(|r| r.len == len) {
            return Ok(());
        }
        if self.chunks.len() >= MAX_PARTS {
            return Err(Error::TooManyParts);
        }
        // Stored parts do not overlap, so only the last that begins before the end can be in the way.
        let before = self.chunks.range(..range.end).next_back();
        match before {
            Some((start, region)) if start + region.len > range.start => Err(Error::Overlap),
            _ => Ok(()),
        }
    }

    fn contiguous_chunks(&self) -> Result<Vec<Region>, Error> {
        let mut end = 0;
        for (start, region) in &self.chunks {
            if *start != end {
                return Err(Error::Gap { offset: end });
            }
            end = start + region.len;
        }
        Ok(merge(self.chunks.values().copied()))
    }
}

/// Joins regions that touch and leaves empty ones out.
fn merge(regions: impl IntoIterator<Item = Region>) -> Vec<Region> {
    let mut merged: Vec<Region> = Vec::new();
    for region in regions.into_iter().filter(|region| region.len > 0) {
        match merged.last_mut() {
            Some(last) if last.offset + last.len == region.offset => last.len += region.len,
            _ => merged.push(region),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload() -> Upload {
        let name = Name {
            repository: "o/r".into(),
            scope: "main".into(),
            key: "k".into(),
            version: "v".into(),
        };
        Upload::new(
            1,
            name,
            tempfile::tempfile().unwrap(),
            Timestamp::UNIX_EPOCH,
        )
    }

    fn chunk(upload: &Upload, range: Range<u64>) -> Result<(), Error> {
        let region = upload.allocate(range.end - range.start, Timestamp::UNIX_EPOCH)?;
        upload.add_chunk(&range, region)
    }

    #[test]
    fn chunks_in_any_order_cover_the_content() {
        let upload = upload();
        chunk(&upload, 5..10).unwrap();
        assert!(matches!(upload.seal(10), Err(Error::Gap { offset: 0 })));
        chunk(&upload, 0..5).unwrap();
        assert!(matches!(upload.seal(9), Err(Error::Size { .. })));
        let regions = [(5, 5), (0, 5)].map(Region::from);
        assert_eq!(upload.seal(10).unwrap(), regions);
        assert!(matches!(chunk(&upload, 10..11), Err(Error::Sealed)));
    }

    /// The files of an upload that is being committed are about to become an entry's.
    #[test]
    fn an_upload_is_committed_or_given_up_but_not_both() {
        let upload = upload();
        upload.seal(0).unwrap();
        assert!(!upload.abandon());
        upload.unseal();
        let now = Timestamp::UNIX_EPOCH;
        assert!(!upload.abandon_if_idle(now), "just used");
        assert!(upload.abandon());
        assert!(matches!(upload.seal(0), Err(Error::NotFound)));
        assert!(matches!(chunk(&upload, 0..1), Err(Error::NotFound)));
    }

    #[test]
    fn only_the_same_range_may_come_again() {
        let upload = upload();
        chunk(&upload, 10..20).unwrap();
        chunk(&upload, 10..20).unwrap();
        for overlapping in [10..11, 10..21, 5..11, 19..25, 0..100, 15..16] {
            let refused = chunk(&upload, overlapping.clone());
            assert!(matches!(refused, Err(Error::Overlap)), "{overlapping:?}");
        }
        chunk(&upload, 20..21).unwrap();
        chunk(&upload, 0..10).unwrap();
        assert_eq!(
            upload.seal(21).unwrap().iter().map(|r| r.len).sum::<u64>(),
            21
        );
    }

    #[test]
    fn the_block_list_decides_the_order() {
        let upload = upload();
        for (id, len) in [("b", 3), ("a", 2), ("unused", 9), ("b", 4)] {
            let region = upload.allocate(len, Timestamp::UNIX_EPOCH).unwrap();
            upload.add_block(id.into(), region).unwrap();
        }
        let unknown = upload.set_blocks(&["a".into(), "c".into()]);
        assert!(matches!(unknown, Err(Error::UnknownBlock)));
        upload.set_blocks(&["a".into(), "b".into()]).unwrap();
        let regions = [(3, 2), (14, 4)].map(Region::from);
        assert_eq!(upload.seal(6).unwrap(), regions);
    }

    #[test]
    fn regions_that_touch_are_one() {
        let regions = [(0, 5), (5, 5), (10, 0), (10, 1), (20, 1)].map(Region::from);
        assert_eq!(merge(regions), [(0, 11), (20, 1)].map(Region::from));
    }
}
