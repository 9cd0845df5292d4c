//! Passes on what BuildKit's own exporter writes, byte for byte: a signed cache, or an export
//! whose session cannot be spliced.
//!
//! BuildKit speaks v1 to the loopback endpoint; the remote may speak v1 or v2. Bytes come in any
//! order, so an entry is spooled whole and uploaded when it is committed.
//!
//! Layers go the way of every other export, which passes over keys that nobody finishes. BuildKit
//! writes one after the other, so none is waited for before the index is reserved; that is refused
//! where a layer is not confirmed, and BuildKit's export fails there with its reason.

use std::{
    collections::HashMap,
    io,
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{TryStreamExt as _, future::try_join_all, stream::BoxStream};
use parking_lot::Mutex;
use tokio::time::Instant;

mod written_ranges;

use self::written_ranges::WrittenRanges;
use super::{
    attributes::Attributes,
    export::{ExportContext, ExportResources, LayerError, OVERTIME, Upload, warn_of_expiry},
    lookup,
    report::Event,
    spool::{SpoolError, SpoolFile},
    summary::{ExportEnd, ExportSummary},
};
use crate::{
    actions::{self, Client, Deadline, Entry, Reservation, Reserved, Source, Token},
    digest::Digest,
    protocol::key::BlobKey,
};

/// Entries of one export that are reserved and not yet committed. BuildKit writes one at a time.
const MAX_OPEN: usize = 64;

/// What the key of an index begins with.
const INDEX: &str = "index-";

/// Layers of one export; the graph of a build has hundreds at most.
const MAX_LAYERS: usize = 100_000;

/// The remote of an export that BuildKit makes itself over the loopback endpoint. Entries that
/// are not committed go with it.
pub struct Relay {
    resources: ExportResources,
    /// The attribute `scope=`.
    scope: String,
    timeout: Duration,
    /// Layers that BuildKit was told are there.
    present: AtomicUsize,
    summarized: AtomicBool,
    started: OnceLock<Started>,
    open: Mutex<OpenEntries>,
    /// Layers that BuildKit has committed.
    layers: Mutex<Vec<(Digest, Arc<Upload>)>>,
}

/// What the first call has started.
struct Started {
    client: Client,
    end: Instant,
    deadline: Deadline,
    /// What uploads need; the newest index is read meanwhile.
    context: ExportContext,
}

impl Started {
    /// The deadline for one upload, which others may put off.
    fn upload_deadline(&self) -> Deadline {
        self.context.client.while_moving(self.end, OVERTIME)
    }
}

#[derive(Default)]
struct OpenEntries {
    last_id: i64,
    by_id: HashMap<i64, Arc<OpenEntry>>,
}

/// An entry that is being written.
struct OpenEntry {
    destination: Destination,
    file: Arc<SpoolFile>,
    written: Mutex<WrittenRanges>,
}

/// Where an entry will be.
enum Destination {
    /// Under the first key of this layer that can be had.
    Layer(Digest),
    /// Under the key that BuildKit has asked for.
    Reserved(Reservation),
}

/// Why a call was not passed on, or failed remotely.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The remote failed.
    #[error(transparent)]
    Remote(#[from] actions::Error),
    /// The key is there already (409 on the wire).
    #[error("{0} exists already")]
    Exists(String),
    /// No reservation has this id.
    #[error("there is no reservation {0}")]
    Unknown(i64),
    /// A layer that is to be indexed is not there.
    #[error("the layer {digest} could not be saved: {error}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why.
        #[source]
        error: Box<LayerError>,
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
    /// A relay whose calls all end a `timeout=` after the first of them.
    pub(super) fn new(resources: ExportResources, attributes: &Attributes) -> Arc<Self> {
        Arc::new(Self {
            resources,
            scope: attributes.scope.clone(),
            timeout: attributes.timeout,
            present: AtomicUsize::new(0),
            summarized: AtomicBool::new(false),
            started: OnceLock::new(),
            open: Mutex::default(),
            layers: Mutex::default(),
        })
    }

    fn started(&self) -> &Started {
        self.started.get_or_init(|| {
            let resources = &self.resources;
            let reporter = resources.reporter.as_ref();
            warn_of_expiry(resources.client.token(), reporter, self.timeout);
            let end = Instant::now() + self.timeout;
            let deadline = resources.client.while_moving(end, OVERTIME);
            let client = resources.client.with_deadline(deadline.clone());
            let latest = resources.begin_latest_index(client.clone());
            Started {
                client,
                end,
                deadline,
                context: resources.context(latest),
            }
        })
    }

    fn client(&self) -> &Client {
        &self.started().client
    }

    /// The token of the export.
    pub fn token(&self) -> &Token {
        self.resources.client.token()
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
        let blobs = &self.resources.blobs;
        let found = found.filter(|entry| !blobs.is_quarantined(digest, &entry.key));
        (self.present).fetch_add(usize::from(found.is_some()), Ordering::Relaxed);
        Ok(found)
    }

    /// Reserves a key; the answer is the id for [`Relay::write`] and [`Relay::commit`]. What is no
    /// layer speaks of layers, so they are waited for.
    pub async fn reserve(&self, key: &str, version: &str) -> Result<i64, RelayError> {
        if self.open.lock().by_id.len() >= MAX_OPEN {
            return Err(RelayError::TooMany);
        }
        let destination = match layer(key) {
            Some(digest) => Destination::Layer(digest),
            None => Destination::Reserved(self.reserve_remote(key, version).await?),
        };
        let entry = OpenEntry {
            destination,
            file: Arc::new(self.resources.spool.create(0).await?),
            written: Mutex::default(),
        };
        let mut open = self.open.lock();
        open.last_id += 1;
        let id = open.last_id;
        open.by_id.insert(id, Arc::new(entry));
        Ok(id)
    }

    /// Takes bytes of an entry from `offset` on; any order.
    pub async fn write(
        &self,
        id: i64,
        offset: u64,
        mut body: BoxStream<'_, io::Result<Bytes>>,
    ) -> Result<(), RelayError> {
        let entry = self.open_entry(id)?;
        let mut end = offset;
        while let Some(bytes) = body.try_next().await? {
            let len = bytes.len() as u64;
            // An offset beyond all sense ends here, since the spool has no room for it.
            entry.file.write_at(end, bytes).await?;
            end += len;
        }
        entry.written.lock().add(offset..end);
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
        let layers = self.layers.lock().clone();
        let ends = layers.into_iter().map(|(digest, upload)| async move {
            let settled = upload.settled(&self.started().deadline).await;
            settled.map_err(|error| {
                let error = Box::new(error);
                RelayError::Layer { digest, error }
            })
        });
        try_join_all(ends).await.map(drop)
    }

    /// Uploads the entry, whose room in the spool is free when that has ended. A layer is on its way
    /// when this returns, anything else is confirmed.
    pub async fn commit(&self, id: i64, size: u64) -> Result<(), RelayError> {
        let entry = self.open_entry(id)?;
        let written = entry.written.lock().contiguous();
        if written != size {
            return Err(RelayError::Incomplete {
                expected: size,
                written,
            });
        }
        self.open.lock().by_id.remove(&id);
        match &entry.destination {
            Destination::Layer(digest) => self.upload(*digest, size, Arc::clone(&entry.file)),
            Destination::Reserved(reservation) => {
                let reservation = reservation.clone();
                let progress = Arc::new(|_| {});
                let upload = self.client().upload(&reservation, size, entry, progress);
                upload.await?;
                if reservation.key.starts_with(INDEX) {
                    self.summarize(ExportEnd::Written);
                    self.resources.reporter.flush().await;
                }
                Ok(())
            }
        }
    }

    /// Begins to upload a layer, unless another export has all of it on its way.
    fn upload(&self, digest: Digest, size: u64, file: Arc<SpoolFile>) -> Result<(), RelayError> {
        let started = self.started();
        let deadline = started.upload_deadline();
        let identity = self.resources.client.identity();
        let found = (self.resources.uploads).find(identity, digest, &deadline);
        let upload = match found {
            Some(share) if share.writer.is_none() => share.upload,
            _ => Upload::begin_whole(started.context.clone(), deadline, digest, size, file),
        };
        let mut layers = self.layers.lock();
        if layers.len() >= MAX_LAYERS {
            return Err(RelayError::TooMany);
        }
        layers.push((digest, upload));
        Ok(())
    }

    /// Tells what the export has come to, once.
    fn summarize(&self, state: ExportEnd) {
        if self.summarized.swap(true, Ordering::Relaxed) {
            return;
        }
        let sent = self.resources.meter.arrived();
        let begun = self.started.get();
        let begun = begun.and_then(|started| started.end.checked_sub(self.timeout));
        let summary = ExportSummary {
            scope: self.scope.clone(),
            state,
            layers_sent: sent.layers,
            layers_present: self.present.load(Ordering::Relaxed),
            layers_left_out: 0,
            bytes_sent: sent.bytes,
            sending: sent.time,
            usage: self.resources.meter.usage(),
            duration: begun.map_or(Duration::ZERO, |begun| begun.elapsed()),
        };
        let event = Event::ExportSummary(Box::new(summary));
        self.resources.reporter.report(event);
    }

    fn open_entry(&self, id: i64) -> Result<Arc<OpenEntry>, RelayError> {
        let open = self.open.lock();
        open.by_id.get(&id).cloned().ok_or(RelayError::Unknown(id))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.summarize(match self.started.get() {
            Some(_) => ExportEnd::Failed,
            None => ExportEnd::Skipped,
        });
    }
}

/// The layer that a key is of. The key of a signature is of none.
fn layer(key: &str) -> Option<Digest> {
    BlobKey::parse_digest(key).filter(|digest| BlobKey::new(*digest).number(key) == Some(0))
}

#[async_trait]
impl Source for OpenEntry {
    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.file.read_at(range).await
    }
}
