//! What a lookup has found out about a layer, for all who need it later.

use super::small_blobs::SmallBlob;
use crate::{actions::Entry, digest::Digest};

/// A layer that was looked up and can be read.
pub(super) struct LocatedLayer {
    pub digest: Digest,
    /// Where it is. An entry that moves is found again by the download.
    pub entry: Entry,
    pub size: u64,
    /// All of it, verified, if it is small or was fetched before it was confirmed.
    pub content: SmallBlob,
}
