//! The bytes of an upload on their way: a file from which parts leave while others arrive.

use std::{collections::BTreeMap, fs::File, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::service::{
    blocking::run_blocking,
    store::{
        error::StoreError,
        extent::Extent,
        part_file::{PartFile, PartSink},
    },
};

/// Takes parts, and knows up to where all have come.
#[derive(Debug)]
pub(super) struct Spool {
    file: PartFile,
    /// Parts that are on their way, by their offset.
    coming: Mutex<BTreeMap<u64, u64>>,
}

impl PartSink for Spool {
    fn allocate(&self, len: u64) -> Result<Extent, StoreError> {
        // Nobody must see the new end before the part is known to be on its way.
        let mut coming = self.coming.lock();
        let extent = self.file.allocate(len)?;
        coming.insert(extent.offset, len);
        Ok(extent)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), StoreError> {
        self.file.write_at(data, offset)
    }

    fn finish(&self, extent: Extent) {
        self.coming.lock().remove(&extent.offset);
    }

    fn abandon(&self, extent: Extent) {
        self.finish(extent);
        self.file.release(extent);
    }
}

impl Spool {
    /// An empty one, in `file`, for the object `id`.
    pub(super) fn new(file: File, id: i64) -> Self {
        Self {
            file: PartFile::new(file, id),
            coming: Mutex::default(),
        }
    }

    /// Up to where nothing is on its way any more.
    pub(super) fn complete_prefix(&self) -> u64 {
        let coming = self.coming.lock();
        let first = coming.first_key_value().map(|(offset, _)| *offset);
        first.unwrap_or_else(|| self.file.end())
    }

    /// Where the last part ends.
    pub(super) fn end(&self) -> u64 {
        self.file.end()
    }

    /// Gives the room of a part back that nobody needs.
    pub(super) fn release(&self, extent: Extent) {
        self.file.release(extent);
    }

    /// Takes nothing more; waits for what is being written. Blocks.
    pub(super) fn close(&self) {
        self.file.close();
    }

    /// Whether it takes nothing more.
    pub(super) fn is_closed(&self) -> bool {
        self.file.is_closed()
    }

    /// Takes bytes again.
    pub(super) fn reopen(&self) {
        self.file.reopen();
    }

    /// Gives all of its room back. Nothing can be had of it after this.
    pub(super) fn clear(&self) {
        if let Err(error) = self.file.file().set_len(0) {
            tracing::debug!(%error, "a spool keeps its room until it is closed");
        }
    }

    /// The bytes of some extents, one after the other.
    pub(super) async fn read(self: &Arc<Self>, extents: Vec<Extent>) -> Result<Bytes, StoreError> {
        let spool = Arc::clone(self);
        run_blocking(move || Ok::<_, StoreError>(spool.file.read(&extents)?.into())).await
    }
}
