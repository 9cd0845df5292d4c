//! Passes on what BuildKit's own exporter writes, byte for byte: a signed cache, or an export
//! whose session cannot be spliced.
//!
//! BuildKit speaks v1 to the loopback endpoint; the far side may be v1 or v2. Bytes come in any
//! order, so an entry is spooled whole and uploaded when it is committed.
//!
//! Layers go the way of every other export, which steps over keys that nobody finishes. BuildKit
//! writes one after the other, so none is waited for before the index is reserved; that is refused
//! where a layer is not confirmed, and BuildKit's export fails there with its reason.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{TryStreamExt as _, future::try_join_all, stream::BoxStream};
use tokio::time::Instant;

use super::{
    export::{ExportContext, Failure, LatestIndex, OVERTIME, Upload, warn_of_expiry},
    lookup,
    spool::{SpoolError, SpoolFile},
};
use crate::{
    actions::{self, Client, Deadline, Entry, Reservation, Reserved, Source, Token},
    digest::Digest,
    protocol::key::BlobKey,
};

/// Entries of one export that are reserved and not yet committed. BuildKit writes one at a time.
const MAX_OPEN: usize = 64;

/// Layers of one export; the graph of a build has hundreds at most.
const MAX_LAYERS: usize = 100_000;

/// The far side of an export that BuildKit makes itself over the loopback endpoint. Entries that
/// are not committed go with it.
pub struct Relay {
    lane: ExportContext,
    timeout: Duration,
    timed: OnceLock<Timed>,
    open: Mutex<Open>,
    /// Layers that BuildKit has committed.
    layers: Mutex<Vec<(Digest, Arc<Upload>)>>,
}

/// What the first call has set going.
struct Timed {
    client: Client,
    end: Instant,
    deadline: Deadline,
    /// The newest index, which is read meanwhile.
    known: LatestIndex,
}

impl Timed {
    /// The deadline for one upload, which others may put off.
    fn own_deadline(&self, client: &Client) -> Deadline {
        client.while_moving(self.end, OVERTIME)
    }
}

#[derive(Default)]
struct Open {
    last_id: i64,
    entries: HashMap<i64, Arc<Pending>>,
}

/// An entry that is being written.
struct Pending {
    place: Place,
    file: Arc<SpoolFile>,
    written: Mutex<Coverage>,
}

/// Where an entry will be.
enum Place {
    /// Under the first key of this layer that can be had.
    Layer(Digest),
    /// Under the key that BuildKit has asked for.
    Reserved(Reservation),
}

/// Why a call was not passed on, or failed on the far side.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The far side failed.
    #[error(transparent)]
    Remote(#[from] actions::Error),
    /// The key is there already (409 on the wire).
    #[error("{0} exists already")]
    Exists(String),
    /// No reservation has this id.
    #[error("there is no reservation {0}")]
    Unknown(i64),
    /// A layer that is to be indexed is not there.
    #[error("the layer {digest} could not be saved: {failure}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why.
        failure: Failure,
    },
    /// Too many reservations are open.
    #[error("the export has too many entries")]
    TooMany,
    /// Not all bytes have come.
    #[error("the entry should have {expected} bytes, and {written} of them are there")]
    Incomplete {
        /// What the commit says.
        expected: u64,
        /// How many bytes have come without a gap.
        written: u64,
    },
    /// The spool is full or failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The request's body failed.
    #[error("the request's body failed: {0}")]
    Body(#[from] io::Error),
}

impl Relay {
    /// A relay whose calls all end `timeout` after the first of them.
    pub(super) fn new(lane: ExportContext, timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            lane,
            timeout,
            timed: OnceLock::new(),
            open: Mutex::default(),
            layers: Mutex::default(),
        })
    }

    fn timed(&self) -> &Timed {
        self.timed.get_or_init(|| {
            warn_of_expiry(&self.lane, self.timeout);
            let end = Instant::now() + self.timeout;
            let deadline = self.lane.client.while_moving(end, OVERTIME);
            let client = self.lane.client.with_deadline(deadline.clone());
            Timed {
                known: LatestIndex::begin(self.lane.clone(), client.clone()),
                client,
                end,
                deadline,
            }
        })
    }

    fn client(&self) -> &Client {
        &self.timed().client
    }

    /// The token of the export.
    pub fn token(&self) -> &Token {
        self.lane.client.token()
    }

    /// The first of `keys` that is found: exactly, or as a prefix, as the service does. A layer that
    /// is known to be damaged is not.
    pub async fn lookup(&self, keys: &[&str], version: &str) -> Result<Option<Entry>, RelayError> {
        for key in keys {
            if let Some(entry) = self.lookup_one(key, version).await? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    async fn lookup_one(&self, key: &str, version: &str) -> Result<Option<Entry>, RelayError> {
        let client = self.client();
        let Some(digest) = layer(key) else {
            return Ok(client.lookup(key, version).await?);
        };
        let found = lookup::blob(client, digest, version).await?;
        let damage = &self.lane.cache.quarantine;
        Ok(found.filter(|entry| !damage.holds(client.identity(), digest, &entry.key)))
    }

    /// Reserves a key; the answer is the id for [`Relay::write`] and [`Relay::commit`]. What is no
    /// layer speaks of layers, so they are waited for.
    pub async fn reserve(&self, key: &str, version: &str) -> Result<i64, RelayError> {
        if self.lock().entries.len() >= MAX_OPEN {
            return Err(RelayError::TooMany);
        }
        let place = match layer(key) {
            Some(digest) => Place::Layer(digest),
            None => Place::Reserved(self.reserve_remote(key, version).await?),
        };
        let file = Arc::new(self.lane.cache.exports.create(0).await?);
        let mut open = self.lock();
        open.last_id += 1;
        let id = open.last_id;
        let pending = Pending {
            place,
            file,
            written: Mutex::default(),
        };
        open.entries.insert(id, Arc::new(pending));
        Ok(id)
    }

    /// Takes bytes of an entry from `offset` on; any order.
    pub async fn write(
        &self,
        id: i64,
        offset: u64,
        mut body: BoxStream<'_, io::Result<Bytes>>,
    ) -> Result<(), RelayError> {
        let pending = self.pending(id)?;
        let mut end = offset;
        while let Some(bytes) = body.try_next().await? {
            let len = bytes.len() as u64;
            // An offset beyond all sense ends here, since the spool has no room for it.
            pending.file.write_at(end, bytes).await?;
            end += len;
        }
        pending.cover(offset..end);
        Ok(())
    }

    async fn reserve_remote(&self, key: &str, version: &str) -> Result<Reservation, RelayError> {
        self.settle().await?;
        match self.client().reserve(key, version).await? {
            Reserved::Created(reservation) => Ok(reservation),
            Reserved::Exists | Reserved::ExistsAfterDoubt => {
                Err(RelayError::Exists(key.to_owned()))
            }
        }
    }

    /// Waits until all layers are confirmed. An error if one will not be.
    async fn settle(&self) -> Result<(), RelayError> {
        let layers = self.layers().clone();
        let ends = layers.into_iter().map(|(digest, upload)| async move {
            let settled = upload.settled(&self.timed().deadline).await;
            settled.map_err(|failure| RelayError::Layer { digest, failure })
        });
        try_join_all(ends).await.map(drop)
    }

    /// Uploads the entry, whose room in the spool is free when that has ended. A layer is on its way
    /// when this returns, anything else is confirmed.
    pub async fn commit(&self, id: i64, size: u64) -> Result<(), RelayError> {
        let pending = self.pending(id)?;
        let written = pending.contiguous();
        if written != size {
            return Err(RelayError::Incomplete {
                expected: size,
                written,
            });
        }
        self.lock().entries.remove(&id);
        match &pending.place {
            Place::Layer(digest) => self.upload(*digest, size, Arc::clone(&pending.file)),
            Place::Reserved(reservation) => {
                let reservation = reservation.clone();
                let told = Arc::new(|_| {});
                let upload = self.client().upload(&reservation, size, pending, told);
                Ok(upload.await?)
            }
        }
    }

    /// Begins to upload a layer, unless another export has all of it on its way.
    fn upload(&self, digest: Digest, size: u64, file: Arc<SpoolFile>) -> Result<(), RelayError> {
        let lane = &self.lane;
        let deadline = self.timed().own_deadline(&self.lane.client);
        let uploads = &lane.cache.uploads;
        let found = uploads.find(lane.client.identity(), digest, &deadline);
        let upload = match found {
            Some(share) if share.writer.is_none() => share.upload,
            _ => {
                let known = self.timed().known.clone();
                Upload::whole(lane.clone(), known, deadline, digest, size, file)
            }
        };
        let mut layers = self.layers();
        if layers.len() >= MAX_LAYERS {
            return Err(RelayError::TooMany);
        }
        layers.push((digest, upload));
        Ok(())
    }

    fn layers(&self) -> MutexGuard<'_, Vec<(Digest, Arc<Upload>)>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self, id: i64) -> Result<Arc<Pending>, RelayError> {
        let open = self.lock();
        open.entries
            .get(&id)
            .cloned()
            .ok_or(RelayError::Unknown(id))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layer that a key is of. The key of a signature is of none.
fn layer(key: &str) -> Option<Digest> {
    BlobKey::parse_digest(key).filter(|digest| BlobKey::new(*digest).number(key) == Some(0))
}

impl Pending {
    fn cover(&self, range: Range<u64>) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.add(range);
    }

    fn contiguous(&self) -> u64 {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.contiguous()
    }
}

#[async_trait]
impl Source for Pending {
    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.file.read_at(range).await
    }
}

/// Which bytes are there: ranges that do not touch, by their starts.
#[derive(Debug, Default)]
struct Coverage(BTreeMap<u64, u64>);

impl Coverage {
    fn add(&mut self, range: Range<u64>) {
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&s, &e)) = self.0.range(..=end).next_back() {
            if e < start {
                break;
            }
            self.0.remove(&s);
            (start, end) = (start.min(s), end.max(e));
        }
        self.0.insert(start, end);
    }

    /// How many bytes there are from the start without a gap, if nothing lies beyond them.
    fn contiguous(&self) -> u64 {
        self.0.get(&0).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_any_order_are_counted_without_gaps() {
        let mut coverage = Coverage::default();
        for (range, contiguous) in [
            (10..20, 0),
            (0..5, 5),
            (4..8, 8),
            (30..40, 8),
            (8..10, 20),
            (0..50, 50),
        ] {
            coverage.add(range.clone());
            assert_eq!(coverage.contiguous(), contiguous, "{range:?}");
        }
        assert_eq!(coverage.0.len(), 1);
    }
}
