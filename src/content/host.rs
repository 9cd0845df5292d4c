//! What the Content service needs of whatever lies behind it.
//!
//! Three hosts exist: the export job (writes only), the import host (reads only) and the
//! directory store (everything). A method that a host does not have answers
//! [`Error::Unimplemented`] by default.

use std::{collections::BTreeMap, ops::Range, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::digest::Digest;

/// Why a call failed, one variant for each gRPC code that containerd's clients tell apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such content or ingest.
    #[error("{0}: not found")]
    NotFound(String),
    /// The content is there already.
    #[error("{0}: already exists")]
    AlreadyExists(String),
    /// The request is wrong.
    #[error("{0}")]
    InvalidArgument(String),
    /// The request is right, the state is not (wrong size or digest at commit).
    #[error("{0}")]
    FailedPrecondition(String),
    /// The offset does not follow what was written.
    #[error("{0}")]
    OutOfRange(String),
    /// Somebody else writes this ref; containerd's clients try again for ever.
    #[error("{0}: locked by another writer")]
    Locked(String),
    /// The host has no room.
    #[error("{0}")]
    ResourceExhausted(String),
    /// The host does not have this method.
    #[error("{0} is not supported by this content store")]
    Unimplemented(&'static str),
    /// The job behind the host has ended.
    #[error("{0}")]
    Aborted(String),
    /// The host failed.
    #[error("{0}")]
    Internal(String),
}

/// What is known of committed content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// When it was committed.
    pub created_at: SystemTime,
    /// When its labels last changed.
    pub updated_at: SystemTime,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What a writer says when it opens an ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestSpec {
    /// The ingest's ref, unique among those that are open.
    pub reference: String,
    /// The size of the whole, if known (0 on the wire is unknown).
    pub total: Option<u64>,
    /// The digest of the whole, if known.
    pub expected: Option<Digest>,
}

/// The state of an ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestStatus {
    /// What it was opened with.
    pub spec: IngestSpec,
    /// How many bytes have been written.
    pub offset: u64,
    /// When it was opened.
    pub started_at: SystemTime,
    /// When it was last written.
    pub updated_at: SystemTime,
}

/// What opening an ingest came to.
pub enum OpenedIngest {
    /// The content is there: nothing need be written.
    Exists(Digest),
    /// A writer, which holds the ref until it is dropped.
    Writer(Box<dyn Ingest>),
}

/// A writer of one ingest. Dropping it releases the ref and keeps what was written, so that the
/// ref can be opened again; [`Host::abort`] throws it away.
#[async_trait]
pub trait Ingest: Send {
    /// The state now.
    fn status(&self) -> IngestStatus;
    /// Appends `data`; the service has checked that it starts at the current offset.
    async fn write(&mut self, data: Bytes) -> Result<(), Error>;
    /// The digest of what has been written, if the host knows it before the commit.
    fn digest(&self) -> Option<Digest> {
        None
    }
    /// Forgets everything that was written.
    async fn restart(&mut self) -> Result<(), Error>;
    /// Makes the content visible. `total` and `expected`, if given, must agree with what was
    /// written. After an `Ok` or [`Error::AlreadyExists`] the ingest is gone.
    async fn commit(&mut self, commit: Commit) -> Result<Digest, Error>;
}

/// What a writer says when it commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// The size that it should have.
    pub total: Option<u64>,
    /// The digest that it should have.
    pub expected: Option<Digest>,
    /// Labels to store with it.
    pub labels: BTreeMap<String, String>,
}

/// What to do with the labels of committed content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelChange {
    /// These are all the labels from now on.
    Replace(BTreeMap<String, String>),
    /// Sets these labels, removes those without a value, and keeps the rest.
    Merge(BTreeMap<String, Option<String>>),
}

impl LabelChange {
    /// The labels after the change.
    pub fn apply(self, mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        match self {
            Self::Replace(all) => return all,
            Self::Merge(some) => {
                for (key, value) in some {
                    match value {
                        Some(value) => labels.insert(key, value),
                        None => labels.remove(&key),
                    };
                }
            }
        }
        labels
    }
}

/// Content in pieces of any size.
pub type Reader = BoxStream<'static, Result<Bytes, Error>>;

/// Receives content infos one by one; see [`Host::list`].
pub type InfoStream = BoxStream<'static, Result<ContentInfo, Error>>;

/// What lies behind a Content service.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// What is known of `digest`.
    async fn info(&self, digest: Digest) -> Result<ContentInfo, Error> {
        let _ = digest;
        Err(Error::Unimplemented("Info"))
    }

    /// Changes labels.
    async fn update(&self, digest: Digest, change: LabelChange) -> Result<ContentInfo, Error> {
        let _ = (digest, change);
        Err(Error::Unimplemented("Update"))
    }

    /// All committed content; the service filters it.
    async fn list(&self) -> Result<InfoStream, Error> {
        Err(Error::Unimplemented("List"))
    }

    /// Removes committed content.
    async fn delete(&self, digest: Digest) -> Result<(), Error> {
        let _ = digest;
        Err(Error::Unimplemented("Delete"))
    }

    /// One range of committed content; the service has checked with [`Host::info`] that the
    /// content has it.
    async fn read(&self, digest: Digest, range: Range<u64>) -> Result<Reader, Error> {
        let _ = (digest, range);
        Err(Error::Unimplemented("Read"))
    }

    /// The state of one ingest.
    async fn status(&self, reference: &str) -> Result<IngestStatus, Error> {
        let _ = reference;
        Err(Error::Unimplemented("Status"))
    }

    /// The states of all ingests; the service filters them.
    async fn list_statuses(&self) -> Result<Vec<IngestStatus>, Error> {
        Err(Error::Unimplemented("ListStatuses"))
    }

    /// Opens an ingest, a new one or one that was left.
    async fn open(&self, spec: IngestSpec) -> Result<OpenedIngest, Error> {
        let _ = spec;
        Err(Error::Unimplemented("Write"))
    }

    /// Throws an ingest away.
    async fn abort(&self, reference: &str) -> Result<(), Error> {
        let _ = reference;
        Err(Error::Unimplemented("Abort"))
    }
}
