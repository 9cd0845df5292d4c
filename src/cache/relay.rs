//! Passes on what BuildKit's own exporter writes, byte for byte: a signed cache, or an export
//! whose session cannot be spliced.
//!
//! BuildKit speaks v1 to the loopback endpoint; the far side may be v1 or v2. Bytes come in any
//! order, so an entry is spooled whole and uploaded when it is committed.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream::BoxStream};
use tokio::time::Instant;

use super::{
    Shared,
    spool::{SpoolError, SpoolFile},
};
use crate::actions::{self, Client, Entry, Reservation, Reserved, Source, Token};

/// Entries of one export that are reserved and not yet committed. BuildKit writes one at a time.
const MAX_OPEN: usize = 64;

/// The far side of an export that BuildKit makes itself over the loopback endpoint. Entries that
/// are not committed go with it.
pub struct Relay {
    cache: Arc<Shared>,
    client: Client,
    timeout: Duration,
    timed: OnceLock<Client>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last_id: i64,
    entries: HashMap<i64, Arc<Pending>>,
}

/// An entry that is being written.
struct Pending {
    reservation: Reservation,
    file: SpoolFile,
    written: Mutex<Coverage>,
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
    /// Too many reservations are open.
    #[error("{MAX_OPEN} entries are reserved and not committed")]
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
    pub(super) fn new(cache: Arc<Shared>, client: Client, timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            cache,
            client,
            timeout,
            timed: OnceLock::new(),
            open: Mutex::default(),
        })
    }

    /// The client, with the deadline that the first call has set.
    fn client(&self) -> &Client {
        self.timed
            .get_or_init(|| self.client.with_deadline(Instant::now() + self.timeout))
    }

    /// The token of the export.
    pub fn token(&self) -> &Token {
        self.client.token()
    }

    /// The first of `keys` that is found: exactly, or as a prefix, as the service does.
    pub async fn lookup(&self, keys: &[&str], version: &str) -> Result<Option<Entry>, RelayError> {
        for key in keys {
            if let Some(entry) = self.client().lookup(key, version).await? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Reserves a key; the answer is the id for [`Relay::write`] and [`Relay::commit`].
    pub async fn reserve(&self, key: &str, version: &str) -> Result<i64, RelayError> {
        if self.lock().entries.len() >= MAX_OPEN {
            return Err(RelayError::TooMany);
        }
        let file = self.cache.exports.create(0).await?;
        let reservation = match self.client().reserve(key, version).await? {
            Reserved::Created(reservation) => reservation,
            Reserved::Exists | Reserved::ExistsAfterDoubt => {
                return Err(RelayError::Exists(key.to_owned()));
            }
        };
        let mut open = self.lock();
        open.last_id += 1;
        let id = open.last_id;
        let pending = Pending {
            reservation,
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

    /// Uploads the entry; it is confirmed when this returns. Its room in the spool is free then,
    /// whatever came of it.
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
        let reservation = pending.reservation.clone();
        self.client()
            .upload(&reservation, size, pending, Arc::new(|_| {}))
            .await?;
        Ok(())
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
