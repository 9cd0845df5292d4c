//! Why a service cannot be opened, in words for whoever starts it.

use std::{io, path::Path};

use super::{
    api_error::ApiError, issuer::IssuersError, store::DatabaseUrl, store_locations::StoreLocations,
    stores_error::StoresError, tls::TlsError,
};

/// What a store says that another process has open.
const IN_USE: &str = "it is in use by another process; only processes with one --database share it";

/// Why a service cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data directory {0} is in use by another process")]
    InUse(String),
    /// It cannot be read or written.
    #[error("the data directory {path} cannot be used: {error}")]
    Unusable {
        /// The directory.
        path: String,
        /// What happened.
        error: ApiError,
    },
    /// The database cannot be reached or used.
    #[error("the database cannot be used: {0}")]
    Database(String),
    /// The bucket, or the directory of the content, cannot be reached or used.
    #[error("the store {store} cannot be used: {message}")]
    Store {
        /// Where it is.
        store: String,
        /// What happened, in the words of the provider or of the system.
        message: String,
    },
    /// There is a bucket and no database that replicas could share.
    #[error("--store needs --database: entries in the data directory would be lost with it")]
    BucketWithoutDatabase,
    /// The database has entries of another content.
    #[error(
        "the database {database} has the entries of other content than {path}: give each a database of its own"
    )]
    OtherContent {
        /// Where the entries are.
        database: String,
        /// The directory, or the place in a bucket.
        path: String,
    },
    /// The audit log cannot be written.
    #[error("--audit-log {0}: {1}")]
    AuditLog(String, io::Error),
    /// Its certificate is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Issuers of tokens cannot be trusted so.
    #[error(transparent)]
    Issuers(#[from] IssuersError),
}

impl OpenError {
    /// Why these stores cannot be opened.
    pub(super) fn new(error: StoresError, locations: StoreLocations<'_>) -> Self {
        let path = locations.data_dir.display().to_string();
        let store = locations.store.map(ToString::to_string);
        let database = locations.database.map(DatabaseUrl::location);
        match error {
            StoresError::DataDir(error) => Self::unusable(locations.data_dir, error.into()),
            StoresError::Database(error) => Self::Database(error.message()),
            StoresError::Secret => Self::Database("its secret is damaged".to_owned()),
            StoresError::Store(error) => Self::Store {
                store: store.unwrap_or_default(),
                message: error.message(),
            },
            StoresError::DataDirInUse => Self::InUse(path),
            StoresError::StoreInUse => Self::Store {
                store: store.unwrap_or_default(),
                message: IN_USE.to_owned(),
            },
            StoresError::BucketWithoutDatabase => Self::BucketWithoutDatabase,
            StoresError::OtherContent => Self::OtherContent {
                // Without one they are in the data directory.
                database: database.unwrap_or_else(|| path.clone()),
                path: store.unwrap_or(path),
            },
        }
    }

    /// A data directory that cannot be used.
    pub(super) fn unusable(path: &Path, error: ApiError) -> Self {
        let path = path.display().to_string();
        Self::Unusable { path, error }
    }
}
