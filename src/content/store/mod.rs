//! The directory store: content as plain files, for one process at a time.
//!
//! ```text
//! blobs/sha256/<hex>       the content, there if and only if it is committed
//! meta/sha256/<hex>.json   when it was committed and updated, and its labels
//! ingest/<sha256 of ref>/  one ingest: data, and ingest.json with ref, total, expected, start
//! lock                     held by the process that uses the store
//! ```
//!
//! The layout of `blobs` is that of an OCI image layout. A file beside each blob is enough for
//! labels: it is small, is replaced atomically, and can be read by people; content without one
//! (put there by other tools) has no labels and the times of its file. An ingest outlives the
//! process: opened again, its data is hashed again and goes on where it ended.

mod ingest;
mod layout;

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::{Mutex, MutexGuard};

use self::{
    ingest::StoreIngest,
    layout::{BlobRecord, Layout, read_record, write_record},
};
use super::host::{
    ContentInfo, Error, Host, InfoStream, IngestSpec, IngestStatus, LabelChange, OpenedIngest,
    Reader,
};
use crate::digest::Digest;

/// How much a reader reads at a time: one answer of the service.
const READ_BYTES: u64 = 1 << 20;

/// A content store in a directory.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    layout: Layout,
    /// The refs that have a writer.
    writing: Mutex<HashSet<String>>,
    /// Held while what others see changes: a commit, an update, a removal.
    changes: Mutex<()>,
    /// Keeps other processes out.
    _lock: File,
}

impl Store {
    /// Opens the store in `root`, which is made if it is not there.
    pub fn open(root: &Path) -> io::Result<Self> {
        let layout = Layout::create(root)?;
        let lock = File::create(root.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::other("another process is using this content store")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Self(Arc::new(Shared {
            layout,
            writing: Mutex::default(),
            changes: Mutex::default(),
            _lock: lock,
        })))
    }

    /// Does file work on a thread where it may block. If the caller leaves, the work goes on to
    /// its end with all that it owns.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Shared>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.0);
        blocking(move || work(&shared)).await
    }
}

impl Shared {
    fn change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock()
    }

    fn has(&self, digest: Digest) -> bool {
        self.layout.blob(digest).exists()
    }

    fn info(&self, digest: Digest) -> Result<ContentInfo, Error> {
        let file = fs::metadata(self.layout.blob(digest)).map_err(|e| failed(&digest, &e))?;
        let record = read_record(&self.layout.meta(digest)).map_err(|e| failed(&digest, &e))?;
        let record = record.unwrap_or_else(|| {
            BlobRecord::from_file_time(file.modified().unwrap_or(SystemTime::UNIX_EPOCH))
        });
        Ok(ContentInfo {
            digest,
            size: file.len(),
            created_at: record.created_at,
            updated_at: record.updated_at,
            labels: record.labels,
        })
    }

    fn update(&self, digest: Digest, change: LabelChange) -> Result<ContentInfo, Error> {
        let _change = self.change();
        let mut info = self.info(digest)?;
        info.labels = change.apply(info.labels);
        info.updated_at = SystemTime::now();
        let record = BlobRecord {
            created_at: info.created_at,
            updated_at: info.updated_at,
            labels: info.labels.clone(),
        };
        write_record(&self.layout.meta(digest), &record).map_err(|e| failed(&digest, &e))?;
        Ok(info)
    }

    fn delete(&self, digest: Digest) -> Result<(), Error> {
        let _change = self.change();
        fs::remove_file(self.layout.blob(digest)).map_err(|e| failed(&digest, &e))?;
        match fs::remove_file(self.layout.meta(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&digest, &error)),
            _ => Ok(()),
        }
    }

    fn abort(&self, reference: &str) -> Result<(), Error> {
        let _change = self.change();
        fs::remove_dir_all(self.layout.ingest(reference)).map_err(|e| failed(&reference, &e))
    }
}

#[async_trait]
impl Host for Store {
    async fn info(&self, digest: Digest) -> Result<ContentInfo, Error> {
        self.run(move |shared| shared.info(digest)).await
    }

    async fn update(&self, digest: Digest, change: LabelChange) -> Result<ContentInfo, Error> {
        self.run(move |shared| shared.update(digest, change)).await
    }

    async fn list(&self) -> Result<InfoStream, Error> {
        let digests = self.run(|shared| {
            let digests = shared.layout.digests();
            digests.map_err(|e| failed(&"the list of content", &e))
        });
        let store = self.clone();
        let infos = stream::iter(digests.await?)
            .then(move |digest| {
                let store = store.clone();
                async move { store.info(digest).await }
            })
            // Deleted since the directory was read.
            .filter(|info| std::future::ready(!matches!(info, Err(Error::NotFound(_)))));
        Ok(infos.boxed())
    }

    async fn delete(&self, digest: Digest) -> Result<(), Error> {
        self.run(move |shared| shared.delete(digest)).await
    }

    async fn read(&self, digest: Digest, range: Range<u64>) -> Result<Reader, Error> {
        let file = self.run(move |shared| {
            let file = File::open(shared.layout.blob(digest));
            file.map(Arc::new).map_err(|e| failed(&digest, &e))
        });
        let pieces = stream::try_unfold((file.await?, range), move |(file, rest)| async move {
            if rest.is_empty() {
                return Ok(None);
            }
            let middle = rest.end.min(rest.start + READ_BYTES);
            let reader = Arc::clone(&file);
            let piece = blocking(move || {
                read_piece(&reader, rest.start..middle).map_err(|e| failed(&digest, &e))
            });
            Ok(Some((piece.await?, (file, middle..rest.end))))
        });
        Ok(pieces.into_stream().boxed())
    }

    async fn status(&self, reference: &str) -> Result<IngestStatus, Error> {
        let reference = reference.to_owned();
        self.run(move |shared| {
            let status = ingest::status(&shared.layout.ingest(&reference));
            status.map_err(|e| failed(&reference, &e))
        })
        .await
    }

    async fn list_statuses(&self) -> Result<Vec<IngestStatus>, Error> {
        self.run(|shared| {
            let statuses = ingest::statuses(&shared.layout);
            statuses.map_err(|e| failed(&"the list of ingests", &e))
        })
        .await
    }

    async fn open(&self, spec: IngestSpec) -> Result<OpenedIngest, Error> {
        self.run(move |shared| StoreIngest::open(shared, &spec))
            .await
    }

    async fn abort(&self, reference: &str) -> Result<(), Error> {
        let reference = reference.to_owned();
        self.run(move |shared| shared.abort(&reference)).await
    }
}

fn read_piece(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut piece = vec![0; len];
    file.read_exact_at(&mut piece, range.start)?;
    Ok(piece.into())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(Error::Internal(format!(
                "the content store failed: {error}"
            )))
        })
}

/// What an I/O error at `what` means to the caller.
fn failed(what: &dyn std::fmt::Display, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(what.to_string()),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::ResourceExhausted(format!("{what}: {error}"))
        }
        _ => Error::Internal(format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests;
