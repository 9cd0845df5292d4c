//! A [`BlobStore`] in files: `uploads/<id>` while bytes arrive, `blobs/<id>` from the commit on. Several processes may
//! share the directory if they share the entries: none removes a file whose id is reserved or an entry's (ADR 73).
//!
//! The order of a commit is what makes a crash harmless: the file is synced, renamed, its directory
//! synced, and only then the entry is put into the database. A file without an entry is garbage, and
//! a crash cannot make an entry without its file.

mod reader;
mod staged_file;
mod upload_file;

use std::{
    fs::{self, File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};

use self::{staged_file::StagedFile, upload_file::UploadFile};
use super::{
    blob_store::{BlobStore, ContentStream, DirectProtocol, Published, StagedBlob},
    error::{StoreError, StoreErrorKind, StoreKind},
    extent::select,
};
use crate::{
    secret::SecretUrl,
    service::{blocking::run_blocking, data_dir::DataDir},
};

/// The folder of the contents, in their directory.
pub(crate) const BLOBS: &str = "blobs";

/// The content files of one directory.
#[derive(Debug)]
pub(crate) struct FileStore(Arc<Folders>);

#[derive(Debug)]
struct Folders {
    uploads: PathBuf,
    blobs: PathBuf,
    /// Held for as long as anybody uses the files, if they have a directory of their own.
    _lock: Option<File>,
}

impl FileStore {
    /// Opens the directories of a process that has the data directory to itself. Blocks.
    pub(crate) fn open(data_dir: &DataDir) -> io::Result<Self> {
        Self::open_locked(data_dir, None)
    }

    /// Opens a directory that `lock` keeps from those who must not use it meanwhile. Blocks.
    pub(crate) fn open_locked(dir: &DataDir, lock: impl Into<Option<File>>) -> io::Result<Self> {
        Ok(Self(Arc::new(Folders {
            uploads: dir.subdir("uploads")?,
            blobs: dir.subdir(BLOBS)?,
            _lock: lock.into(),
        })))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folders) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folders = Arc::clone(&self.0);
        run_blocking(move || work(&folders)).await
    }
}

#[async_trait]
impl BlobStore for FileStore {
    async fn stage(&self, id: i64) -> Result<Arc<dyn StagedBlob>, StoreError> {
        let folders = Arc::clone(&self.0);
        run_blocking(move || {
            let file = UploadFile::new(folders.create(id)?, id);
            Ok(Arc::new(StagedFile::new(id, file, folders)) as Arc<dyn StagedBlob>)
        })
        .await
    }

    async fn check(&self, id: i64, stored: u64) -> Result<(), StoreError> {
        self.run(move |folders| {
            let found = fs::metadata(folders.blob(id));
            is_long_enough(&found.map_err(|error| folders.failure(error))?, stored)
        })
        .await
    }

    async fn open(
        &self,
        id: i64,
        content: Published,
        range: Range<u64>,
    ) -> Result<ContentStream, StoreError> {
        self.run(move |folders| {
            let file = File::open(folders.blob(id)).map_err(|error| folders.failure(error))?;
            // What it answers with cannot be cut short any more.
            is_long_enough(&file.metadata()?, content.stored)?;
            Ok(reader::stream(file, select(&content.extents, range)))
        })
        .await
    }

    fn direct_protocol(&self) -> Option<DirectProtocol> {
        None
    }

    async fn direct_read(
        &self,
        _id: i64,
        _content: &Published,
        _ttl: Duration,
    ) -> Result<Option<SecretUrl>, StoreError> {
        Ok(None)
    }

    async fn direct_upload(
        &self,
        _id: i64,
        _ttl: Duration,
    ) -> Result<Option<SecretUrl>, StoreError> {
        Ok(None)
    }

    async fn remove(&self, id: i64) -> Result<(), StoreError> {
        self.run(move |folders| {
            folders.discard(id)?;
            Ok(gone_is_fine(fs::remove_file(folders.blob(id)))?)
        })
        .await
    }

    fn ids(&self) -> BoxStream<'_, Result<i64, StoreError>> {
        let ids = self.run(|folders| Ok(folders.ids()?));
        let ids = ids.map(|ids| ids.map(|ids| stream::iter(ids.into_iter().map(Ok))));
        ids.into_stream().try_flatten().boxed()
    }
}

impl Folders {
    /// A new file that takes the bytes of an upload.
    fn create(&self, id: i64) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.upload(id))
    }

    /// Makes an uploaded file permanent. After this it survives a loss of power.
    fn publish(&self, id: i64) -> io::Result<()> {
        fs::rename(self.upload(id), self.blob(id))?;
        File::open(&self.blobs)?.sync_all()
    }

    /// Takes a published file back.
    fn unpublish(&self, id: i64) -> io::Result<()> {
        fs::rename(self.blob(id), self.upload(id))
    }

    /// Removes the file of an upload, if it is there.
    fn discard(&self, id: i64) -> io::Result<()> {
        gone_is_fine(fs::remove_file(self.upload(id)))
    }

    fn ids(&self) -> io::Result<Vec<i64>> {
        let id = |file: io::Result<fs::DirEntry>| {
            let file = file.map(|file| file.file_name());
            file.map(|name| name.to_str().and_then(|name| name.parse().ok()))
        };
        let (uploads, blobs) = (fs::read_dir(&self.uploads)?, fs::read_dir(&self.blobs)?);
        let ids = uploads.chain(blobs).map(id);
        ids.filter_map(Result::transpose).collect()
    }

    /// Why a content cannot be had. Where the whole folder is missing its file system is not mounted, and the content may
    /// well be there: whoever believes that it is gone drops its entry.
    fn failure(&self, error: io::Error) -> StoreError {
        let failure = StoreError::from(error);
        if failure.kind() == StoreErrorKind::NotFound && !self.blobs.is_dir() {
            let (kind, folder) = (StoreErrorKind::Unavailable, self.blobs.display());
            let reason = format!("{folder} is not there: is its file system mounted?");
            return StoreError::with_source(StoreKind::Storage, kind, reason);
        }
        failure
    }

    fn blob(&self, id: i64) -> PathBuf {
        self.blobs.join(id.to_string())
    }

    fn upload(&self, id: i64) -> PathBuf {
        self.uploads.join(id.to_string())
    }
}

fn is_long_enough(file: &fs::Metadata, expected: u64) -> Result<(), StoreError> {
    let stored = file.len();
    if stored < expected {
        let kind = StoreErrorKind::Truncated { stored };
        return Err(StoreError::new(StoreKind::Storage, kind));
    }
    Ok(())
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
