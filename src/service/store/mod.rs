//! What the rules stand on: metadata in an [`EntryStore`], content in a [`BlobStore`].
//!
//! The rules know these two traits and nothing of what is behind them. Today that is SQLite or PostgreSQL, and files
//! of one data directory. Another pair has to pass the suite in `contract`, and needs nothing else.
//!
//! All methods are asynchronous, and none blocks the thread that polls it; bodies are streams, and no
//! method holds a whole one in memory. What fails is a [`StoreError`], whose kind says what the rules can do.

mod blob_store;
#[cfg(test)]
mod contract;
mod entry_store;
mod error;
mod extent;
mod files;
mod postgres;
mod sqlite;
mod touches;

#[cfg(test)]
pub(super) use self::blob_store::{PartStream, Published};
pub use self::postgres::{DatabaseUrl, DatabaseUrlError};
pub(super) use self::{
    blob_store::{BlobReader, BlobStore, BodyError, PutError, StagedBlob},
    entry_store::{AFTER_ALL_KEYS, Entry, EntryName, EntryStore, Filter, Page, Search},
    error::{StoreError, StoreErrorKind, StoreKind},
    extent::{Extent, merge},
    files::FileStore,
    postgres::PostgresStore,
    sqlite::{FILE as SQLITE_FILE, SqliteStore},
};
