//! What the link allows: the calls that must wait for one another, each once, and the bytes at the
//! speed of the whole link. Calls that need not wait for one another cost nothing here, and nor do
//! connections, programs and disks.

use crate::{links::Wire, work::Work};

/// Calls that wait for one another on the shortest way.
struct Way {
    api: u32,
    blob: u32,
}

impl Work {
    /// The shortest way. `in_parts` says whether a layer is more than one part.
    fn way(self, in_parts: bool) -> Way {
        let (api, blob) = match self {
            // Reserve, put, (join,) confirm a layer; then the same of the index.
            Self::Export | Self::First(_) => (4, 2 + u32::from(in_parts)),
            // The newest index is found and read, beside the lookups of the layers or the listing.
            Self::Unchanged | Self::Later | Self::NewBuilder | Self::NewBuilderListing => (1, 1),
            // The index is found and read; the layers are found, looked at and read.
            Self::Import => (2, 3),
            // An import, and the export of what has changed.
            Self::Change => (6, 5),
        };
        Way { api, blob }
    }
}

/// Seconds that the link takes at least, for so many bytes.
pub fn seconds(wire: Wire, work: Work, bytes: u64, in_parts: bool) -> f64 {
    let link = wire.link();
    let way = work.way(in_parts);
    let calls = (link.api * way.api + link.blob * way.blob).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let bytes = bytes as f64;
    calls + link.in_all.map_or(0.0, |rate| bytes / f64::from(rate))
}
