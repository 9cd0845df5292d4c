//! The stores of a service, as its configuration says, and that both are about the same things.
//!
//! Content that no entry names is removed, and so is an entry whose content is not there. Either store with a
//! stranger for its partner would lose everything, so a data directory knows where its entries are, and a
//! database of whose content it speaks. The secret is where the entries are: replicas must agree on it.

use std::{
    io::{self, Read as _, Write as _},
    sync::Arc,
};

use super::{
    blocking::run_blocking,
    data_dir::DataDir,
    key::{MasterKey, new_secret},
    store::{
        BlobStore, BucketStore, DatabaseUrl, EntryStore, FileStore, PostgresStore, SQLITE_FILE,
        SqliteStore, StoreError, StoreUrl,
    },
};

/// In a data directory whose entries are in PostgreSQL: the name of its content.
const CONTENT_NAME: &str = "content-name";

/// More than a name has.
const MAX_NAME_BYTES: u64 = 256;

/// What a service stands on.
pub(super) struct Stores {
    pub(super) entries: Arc<dyn EntryStore>,
    pub(super) blobs: Arc<dyn BlobStore>,
}

/// Why there are no stores.
#[derive(Debug)]
pub(super) enum StoresError {
    /// The data directory cannot be used.
    DataDir(StoreError),
    /// The database cannot be used.
    Database(StoreError),
    /// The bucket cannot be used.
    Bucket(StoreError),
    /// What the database has as the secret is none.
    Secret,
    /// A bucket needs a database that is as far away.
    BucketWithoutDatabase,
    /// The database has the entries of another content.
    OtherContent,
}

/// Where the stores of a service are.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreLocations<'a> {
    /// The database; `None` for one in the data directory.
    pub(super) database: Option<&'a DatabaseUrl>,
    /// The bucket; `None` for files in the data directory.
    pub(super) bucket: Option<&'a StoreUrl>,
    /// Whether clients are given URLs of the bucket.
    pub(super) direct: bool,
}

impl Stores {
    /// Opens both, and reads the secret or makes one.
    pub(super) async fn open(
        data_dir: DataDir,
        locations: StoreLocations<'_>,
    ) -> Result<(Self, MasterKey), StoresError> {
        let Some(url) = locations.database else {
            if locations.bucket.is_some() {
                return Err(StoresError::BucketWithoutDatabase);
            }
            return run_blocking(move || sqlite_and_files(&data_dir))
                .await
                .map_err(StoresError::DataDir);
        };
        let (name, blobs) = match locations.bucket {
            Some(url) => bucket(&data_dir, url, locations.direct)
                .await
                .map_err(StoresError::Bucket)?,
            None => files(data_dir).await.map_err(StoresError::DataDir)?,
        };
        let entries = PostgresStore::open(url)
            .await
            .map_err(StoresError::Database)?;
        let bound = entries.bind(&name).await;
        if !bound.map_err(StoresError::Database)? {
            return Err(StoresError::OtherContent);
        }
        let secret = new_secret().map_err(|error| StoresError::DataDir(error.into()))?;
        let secret = entries.secret(secret).await;
        let secret = secret.map_err(StoresError::Database)?;
        let master = MasterKey::from_hex(&secret).ok_or(StoresError::Secret)?;
        let entries = Arc::new(entries);
        Ok((Self { entries, blobs }, master))
    }
}

/// Contents in files, and their name.
async fn files(data_dir: DataDir) -> Result<(String, Arc<dyn BlobStore>), StoreError> {
    run_blocking(move || {
        let name = name_of_content(&data_dir)?;
        let blobs: Arc<dyn BlobStore> = Arc::new(FileStore::open(&data_dir)?);
        Ok((name, blobs))
    })
    .await
}

/// Contents in a bucket, and their name.
async fn bucket(
    data_dir: &DataDir,
    url: &StoreUrl,
    direct: bool,
) -> Result<(String, Arc<dyn BlobStore>), StoreError> {
    let blobs = BucketStore::open(url, data_dir, direct)?;
    blobs.check_signing().await?;
    Ok((blobs.name().await?, Arc::new(blobs)))
}

fn sqlite_and_files(data_dir: &DataDir) -> Result<(Stores, MasterKey), StoreError> {
    if data_dir.secret(CONTENT_NAME)?.is_some() {
        let reason = "its entries are in PostgreSQL: give --database, or another directory";
        return Err(io::Error::other(reason).into());
    }
    let stores = Stores {
        entries: Arc::new(SqliteStore::open(data_dir)?),
        blobs: Arc::new(FileStore::open(data_dir)?),
    };
    Ok((stores, MasterKey::load_or_create(data_dir)?))
}

/// Reads the name of the content of a data directory, or gives it one.
fn name_of_content(data_dir: &DataDir) -> io::Result<String> {
    if data_dir.secret(SQLITE_FILE)?.is_some() {
        let reason = "its entries are in SQLite: take another directory with --database";
        return Err(io::Error::other(reason));
    }
    let mut file = data_dir.file(CONTENT_NAME)?;
    let mut name = String::new();
    (&mut file).take(MAX_NAME_BYTES).read_to_string(&mut name)?;
    if name.is_empty() {
        name = format!("{:032x}", rand::random::<u128>());
        file.write_all(name.as_bytes())?;
        file.sync_all()?;
    }
    Ok(name)
}
