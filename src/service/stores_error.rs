//! Why a service has no stores.

use super::store::StoreError;

/// Why there are no stores.
#[derive(Debug)]
pub(super) enum StoresError {
    /// The data directory cannot be used.
    DataDir(StoreError),
    /// The database cannot be used.
    Database(StoreError),
    /// The bucket, or the directory of the content, cannot be used.
    Store(StoreError),
    /// Another process has the data directory open.
    DataDirInUse,
    /// Another process uses the directory of the content.
    StoreInUse,
    /// What the database has as the secret is none.
    Secret,
    /// A bucket needs a database that is as far away.
    BucketWithoutDatabase,
    /// The database has the entries of another content.
    OtherContent,
}
