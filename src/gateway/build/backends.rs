//! The cache's jobs as the loopback endpoint serves them.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;

use crate::{
    cache::{Blob, ConfirmedLayer, FetchError, ImportJob, Relay, RelayError},
    gateway::endpoint::{Backend, Body, Failure, Found, Object, Readable},
    protocol::key,
};

/// An import: the indexes that were loaded, and layers that were looked up and probed.
pub struct Import(pub Arc<ImportJob>);

#[async_trait]
impl Backend for Import {
    async fn lookup(&self, keys: &[&str], _version: &str) -> Result<Option<Found>, Failure> {
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

impl Import {
    async fn find(&self, key: &str) -> Option<Found> {
        let object: Arc<dyn Object> = if let Some(digest) = key::blob_digest(key) {
            Arc::new(self.0.confirm(digest).await?)
        } else if let Some(signature) = self.0.signature(key) {
            Arc::new(signature)
        } else {
            let index = self.0.index(key)?;
            let object = Index {
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
struct Index {
    job: Arc<ImportJob>,
    base: String,
}

#[async_trait]
impl Object for Index {
    async fn open(&self) -> Result<Box<dyn Readable>, Failure> {
        let index = self.job.index(&self.base);
        let ended = || Failure::Invalid("the build of this cache index has ended".into());
        Ok(Box::new(index.ok_or_else(ended)?.raw))
    }
}

/// A layer is fetched when it is asked for.
#[async_trait]
impl Object for ConfirmedLayer {
    async fn open(&self) -> Result<Box<dyn Readable>, Failure> {
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

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Upstream(error.to_string())
    }
}

/// An export that BuildKit makes itself: its calls are passed on.
pub struct Export(pub Arc<Relay>);

#[async_trait]
impl Backend for Export {
    fn is_shared(&self) -> bool {
        false
    }

    async fn lookup(&self, keys: &[&str], version: &str) -> Result<Option<Found>, Failure> {
        let Some(entry) = self.0.lookup(keys, version).await? else {
            return Ok(None);
        };
        // BuildKit's exporter asks whether an entry is there and never downloads it.
        Ok(Some(Found {
            key: entry.key,
            object: Arc::new(NotServed),
        }))
    }

    async fn reserve(&self, key: &str, version: &str) -> Result<i64, Failure> {
        Ok(self.0.reserve(key, version).await?)
    }

    async fn write(&self, id: i64, range: Range<u64>, body: Body) -> Result<(), Failure> {
        Ok(self.0.write(id, range.start, body).await?)
    }

    async fn commit(&self, id: i64, size: u64) -> Result<(), Failure> {
        Ok(self.0.commit(id, size).await?)
    }
}

/// An entry that is known to be there, behind a handle that only exports.
struct NotServed;

#[async_trait]
impl Object for NotServed {
    async fn open(&self) -> Result<Box<dyn Readable>, Failure> {
        Err(Failure::Invalid(
            "this is the gateway's export endpoint: nothing can be read here".into(),
        ))
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Exists(_) => Self::AlreadyExists(error.to_string()),
            RelayError::Unknown(_)
            | RelayError::TooMany
            | RelayError::Incomplete { .. }
            | RelayError::Body(_) => Self::Invalid(error.to_string()),
            RelayError::Remote(_) | RelayError::Layer { .. } | RelayError::Spool(_) => {
                Self::Upstream(error.to_string())
            }
        }
    }
}
