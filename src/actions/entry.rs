//! Entries and reservations: what lookups and reservations come to.

use super::Location;
use crate::secret::SecretUrl;

/// An entry that a lookup found.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its full key.
    pub key: String,
    /// The version that was asked for, so that an expired URL can be renewed.
    pub version: String,
    /// Where its bytes are. All clones share it, so that one renewal serves them all.
    pub location: Location,
}

/// What a reservation came to.
#[derive(Debug)]
pub enum Reserved {
    /// The key is ours to fill.
    Created(Reservation),
    /// The key is taken: by a finished entry or by an unfinished reservation, a lookup tells which.
    Exists,
    /// The key is taken, and an earlier attempt of this call got no answer: most likely by a
    /// reservation of our own, which nobody can fill and the service forgets in time.
    ExistsAfterDoubt,
}

/// A key that this client may fill: upload parts, then finish.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// The reserved key.
    pub key: String,
    /// Its version.
    pub version: String,
    pub(super) upload: UploadTarget,
}

/// Where the parts of a reservation go.
#[derive(Debug, Clone)]
pub(super) enum UploadTarget {
    V1 { cache_id: i64 },
    V2 { url: SecretUrl },
}
