//! The cache's jobs as the loopback endpoint serves them.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;

use crate::{
    cache::{Blob, ConfirmedLayer, FetchError, ImportJob, Relay, RelayError},
    gateway::endpoint::{Backend, BackendError, Body, ErrorKind, Found, Object, Readable},
    protocol::key,
};

/// An import: the indexes that were loaded, and layers that were looked up and probed.
pub(super) struct ImportBackend(pub Arc<ImportJob>);

#[async_trait]
impl Backend for ImportBackend {
    async fn lookup(&self, keys: &[&str], _version: &str) -> Result<Option<Found>, BackendError> {
        for key in keys {
            if let Some(found) = self.find(key).await {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn retire(&self) {
        self.0.retire();
    }
}

impl ImportBackend {
    async fn find(&self, key: &str) -> Option<Found> {
        let object: Arc<dyn Object> = if let Some(digest) = key::blob_digest(key) {
            Arc::new(self.0.confirm(digest).await?)
        } else if let Some(signature) = self.0.signature(key) {
            Arc::new(signature)
        } else {
            let index = self.0.index(key)?;
            let object = IndexObject {
                job: Arc::clone(&self.0),
                base: key.to_owned(),
            };
            return Some(Found {
                key: index.key,
                object: Arc::new(object),
            });
        };
        Some(Found {
            key: key.to_owned(),
            object,
        })
    }
}

/// An index, which is not held here: the import drops it with its build.
struct IndexObject {
    job: Arc<ImportJob>,
    base: String,
}

#[async_trait]
impl Object for IndexObject {
    async fn open(&self) -> Result<Box<dyn Readable>, BackendError> {
        let index = self.job.index(&self.base);
        let ended = || {
            let words = "the build of this cache index has ended";
            BackendError::new(ErrorKind::InvalidRequest, words)
        };
        Ok(Box::new(index.ok_or_else(ended)?.raw))
    }
}

/// A layer is fetched when it is asked for.
#[async_trait]
impl Object for ConfirmedLayer {
    async fn open(&self) -> Result<Box<dyn Readable>, BackendError> {
        Ok(Box::new(ConfirmedLayer::open(self).await?))
    }
}

impl Readable for Blob {
    fn size(&self) -> u64 {
        Blob::size(self)
    }

    fn read(self: Box<Self>, range: Range<u64>) -> Body {
        Blob::read(&self, range)
    }
}

impl From<FetchError> for BackendError {
    fn from(error: FetchError) -> Self {
        Self::new(ErrorKind::Upstream, error)
    }
}

/// An export that BuildKit makes itself: its calls are passed on.
pub(super) struct ExportBackend(pub Arc<Relay>);

#[async_trait]
impl Backend for ExportBackend {
    fn is_shared(&self) -> bool {
        false
    }

    async fn lookup(&self, keys: &[&str], version: &str) -> Result<Option<Found>, BackendError> {
        let Some(entry) = self.0.lookup(keys, version).await? else {
            return Ok(None);
        };
        // BuildKit's exporter asks whether an entry is there and never downloads it.
        Ok(Some(Found {
            key: entry.key,
            object: Arc::new(NotServed),
        }))
    }

    async fn reserve(&self, key: &str, version: &str) -> Result<i64, BackendError> {
        Ok(self.0.reserve(key, version).await?)
    }

    async fn write(&self, id: i64, range: Range<u64>, body: Body) -> Result<(), BackendError> {
        Ok(self.0.write(id, range.start, body).await?)
    }

    async fn commit(&self, id: i64, size: u64) -> Result<(), BackendError> {
        Ok(self.0.commit(id, size).await?)
    }
}

/// An entry that is known to be there, behind a handle that only exports.
struct NotServed;

#[async_trait]
impl Object for NotServed {
    async fn open(&self) -> Result<Box<dyn Readable>, BackendError> {
        Err(BackendError::new(
            ErrorKind::InvalidRequest,
            "this is the gateway's export endpoint: nothing can be read here",
        ))
    }
}

impl From<RelayError> for BackendError {
    fn from(error: RelayError) -> Self {
        let kind = match error {
            RelayError::Exists(_) => ErrorKind::AlreadyExists,
            RelayError::Unknown(_)
            | RelayError::TooMany
            | RelayError::Incomplete { .. }
            | RelayError::Body(_) => ErrorKind::InvalidRequest,
            RelayError::Remote(_) | RelayError::Layer { .. } | RelayError::Spool(_) => {
                ErrorKind::Upstream
            }
        };
        Self::new(kind, error)
    }
}
