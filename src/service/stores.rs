//! The stores of a service, as its configuration says, and that both are about the same things.
//!
//! Content that no entry names is removed, and so is an entry whose content is not there. Either store with a
//! stranger for its partner would lose everything, so a data directory knows where its entries are, and a
//! database of whose content it speaks.

use std::{
    io::{self, Read as _, Write as _},
    sync::Arc,
};

use super::{
    blocking::run_blocking,
    data_dir::DataDir,
    store::{
        BlobStore, DatabaseUrl, EntryStore, FileStore, PostgresStore, SQLITE_FILE, SqliteStore,
        StoreError,
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
    /// The database has the entries of another content.
    OtherContent,
}

impl Stores {
    /// Opens both.
    pub(super) async fn open(
        data_dir: DataDir,
        database: Option<&DatabaseUrl>,
    ) -> Result<Self, StoresError> {
        let Some(url) = database else {
            return run_blocking(move || sqlite_and_files(&data_dir))
                .await
                .map_err(StoresError::DataDir);
        };
        let named = run_blocking(move || {
            let name = name_of_content(&data_dir)?;
            Ok::<_, StoreError>((name, FileStore::open(&data_dir)?))
        });
        let (name, blobs) = named.await.map_err(StoresError::DataDir)?;
        let entries = PostgresStore::open(url)
            .await
            .map_err(StoresError::Database)?;
        let bound = entries.bind(&name).await;
        if !bound.map_err(StoresError::Database)? {
            return Err(StoresError::OtherContent);
        }
        Ok(Self {
            entries: Arc::new(entries),
            blobs: Arc::new(blobs),
        })
    }
}

fn sqlite_and_files(data_dir: &DataDir) -> Result<Stores, StoreError> {
    if data_dir.secret(CONTENT_NAME)?.is_some() {
        let reason = "its entries are in PostgreSQL: give --database, or another directory";
        return Err(io::Error::other(reason).into());
    }
    Ok(Stores {
        entries: Arc::new(SqliteStore::open(data_dir)?),
        blobs: Arc::new(FileStore::open(data_dir)?),
    })
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
