//! The stores of a service, as its configuration says.

use std::{fs::File, io, path::Path, sync::Arc};

use super::{
    blocking::run_blocking,
    data_dir::{DataDir, Lock},
    open_error::OpenError,
    pairing::{Pairing, check_directory, name_of_content},
    store::{
        BlobStore, BucketStore, BucketUrl, DatabaseUrl, EntryStore, FileStore, OverviewStore,
        PostgresStore, SqliteStore, SqliteTokens, StoreError, StoreUrl, TokenStore,
    },
    store_locations::StoreLocations,
    stores_error::StoresError,
};

/// What a service stands on.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) entries: Arc<dyn EntryStore>,
    pub(super) blobs: Arc<dyn BlobStore>,
    pub(super) tokens: Arc<dyn TokenStore>,
    pub(super) overviews: Arc<dyn OverviewStore>,
}

/// Open stores, and the lock of their data directory.
pub(super) struct LockedStores {
    pub(super) stores: Stores,
    /// That both belong together.
    pub(super) pairing: Pairing,
    /// Held for as long as they are used: two processes on one directory would not know of each other's uploads.
    pub(super) lock: File,
}

impl StoreLocations<'_> {
    /// Opens both. With `lock` it is said whether other processes may use the content meanwhile; without a database
    /// none may.
    pub(super) async fn open(self, lock: Lock) -> Result<LockedStores, OpenError> {
        let opened = self.try_open(lock).await;
        opened.map_err(|error| OpenError::new(error, self))
    }

    async fn try_open(self, lock: Lock) -> Result<LockedStores, StoresError> {
        let path = self.data_dir.to_owned();
        let (data_dir, locked) = run_blocking(move || lock_directory(&path, Lock::Exclusive))
            .await
            .map_err(|error| in_use(error, StoresError::DataDirInUse, StoresError::DataDir))?;
        let (stores, pairing) = match self.database {
            None => self.open_sqlite(data_dir).await?,
            Some(url) => self.open_postgres(url, data_dir, lock).await?,
        };
        Ok(LockedStores {
            stores,
            pairing,
            lock: locked,
        })
    }

    async fn open_sqlite(self, data_dir: DataDir) -> Result<PairedStores, StoresError> {
        let elsewhere = match self.store {
            None => None,
            Some(StoreUrl::Directory(path)) => Some(directory(path, Lock::Exclusive).await?),
            Some(StoreUrl::Bucket(_)) => return Err(StoresError::BucketWithoutDatabase),
        };
        run_blocking(move || Ok(sqlite_and_files(data_dir, elsewhere)))
            .await
            .map_err(StoresError::DataDir)?
    }

    async fn open_postgres(
        self,
        url: &DatabaseUrl,
        data_dir: DataDir,
        lock: Lock,
    ) -> Result<PairedStores, StoresError> {
        let (content, blobs) = match self.store {
            None => files(data_dir).await.map_err(StoresError::DataDir)?,
            Some(StoreUrl::Directory(path)) => directory(path, lock).await?,
            Some(StoreUrl::Bucket(url)) => {
                let opened = bucket(&data_dir, url, self.direct).await;
                opened.map_err(StoresError::Store)?
            }
        };
        let database = PostgresStore::open(url).await;
        let database = Arc::new(database.map_err(StoresError::Database)?);
        let stores = Stores {
            tokens: Arc::new(database.tokens()),
            entries: Arc::<PostgresStore>::clone(&database),
            overviews: Arc::<PostgresStore>::clone(&database),
            blobs,
        };
        let pairing = Pairing::Database { database, content };
        Ok((stores, pairing))
    }
}

/// Stores, and that they belong together.
type PairedStores = (Stores, Pairing);

/// Contents, and their name.
type NamedContents = (String, Arc<dyn BlobStore>);

/// Contents in files of the data directory.
async fn files(data_dir: DataDir) -> Result<NamedContents, StoreError> {
    run_blocking(move || {
        let name = name_of_content(&data_dir)?;
        let blobs: Arc<dyn BlobStore> = Arc::new(FileStore::open(&data_dir)?);
        Ok((name, blobs))
    })
    .await
}

/// Contents in a directory of their own.
async fn directory(path: &Path, lock: Lock) -> Result<NamedContents, StoresError> {
    let path = path.to_owned();
    let opened = run_blocking(move || {
        let (dir, lock) = lock_directory(&path, lock)?;
        let name = name_of_content(&dir)?;
        let blobs: Arc<dyn BlobStore> = Arc::new(FileStore::open_locked(&dir, lock)?);
        Ok::<_, io::Error>((name, blobs))
    });
    let opened = opened.await;
    opened.map_err(|error| in_use(error, StoresError::StoreInUse, StoresError::Store))
}

/// Contents in a bucket. With `direct`, clients are given URLs of the provider.
async fn bucket(
    data_dir: &DataDir,
    url: &BucketUrl,
    direct: bool,
) -> Result<NamedContents, StoreError> {
    let blobs = BucketStore::open(url, data_dir, direct)?;
    blobs.check_signing().await?;
    Ok((blobs.name().await?, Arc::new(blobs)))
}

fn sqlite_and_files(
    data_dir: DataDir,
    elsewhere: Option<NamedContents>,
) -> Result<PairedStores, StoresError> {
    let (content, blobs) = elsewhere.unzip();
    check_directory(&data_dir, content.as_deref())?;
    let entries = SqliteStore::open(&data_dir).map_err(StoresError::DataDir)?;
    let blobs = match blobs {
        Some(blobs) => blobs,
        None => match FileStore::open(&data_dir) {
            Ok(files) => Arc::new(files),
            Err(error) => return Err(StoresError::DataDir(error.into())),
        },
    };
    let tokens = SqliteTokens::beside_store(&data_dir).map_err(StoresError::DataDir)?;
    let stores = Stores {
        overviews: Arc::new(entries.clone()),
        entries: Arc::new(entries),
        blobs,
        tokens: Arc::new(tokens),
    };
    let pairing = Pairing::Directory { data_dir, content };
    Ok((stores, pairing))
}

/// Opens a directory, which is made if it is not there, and takes its lock.
fn lock_directory(path: &Path, lock: Lock) -> io::Result<(DataDir, File)> {
    let dir = DataDir::open(path)?;
    let file = dir.lock(lock)?;
    Ok((dir, file))
}

/// What it means that a directory cannot be opened.
fn in_use(
    error: io::Error,
    in_use: StoresError,
    other: fn(StoreError) -> StoresError,
) -> StoresError {
    match error.kind() {
        io::ErrorKind::WouldBlock => in_use,
        _ => other(error.into()),
    }
}
