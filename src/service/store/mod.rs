//! What the rules stand on: metadata in an [`EntryStore`], content in a [`BlobStore`]; and beside them a
//! [`TokenStore`] of the tokens that were made, and an [`OverviewStore`] for people.
//!
//! The rules know these two traits and nothing of what is behind them. Today that is SQLite or PostgreSQL, and files
//! of one directory, or a bucket. Another pair has to pass the suite in `contract`, and needs nothing else.
//!
//! All methods are asynchronous, and none blocks the thread that polls it; bodies are streams, and no
//! method holds a whole one in memory. What fails is a [`StoreError`], whose kind says what the rules can do.

mod activity;
mod blob_store;
mod bucket;
#[cfg(test)]
mod contract;
mod entry;
mod entry_store;
mod error;
mod extent;
mod files;
mod overview_store;
mod part_file;
mod postgres;
mod shared_contents;
mod sqlite;
mod store_url;
mod store_url_error;
mod token_store;
mod touches;

pub(super) use self::{
    activity::{Activity, Day},
    blob_store::{
        BlobStore, BodyError, ContentStream, DirectProtocol, PartStream, Published, PutError,
        StagedBlob,
    },
    bucket::BucketStore,
    entry_store::{
        AFTER_ALL_KEYS, Committed, Entry, EntryName, EntryStore, Filter, LeastRecentlyUsed, Page,
        Search, Totals, Usage,
    },
    error::{StoreError, StoreErrorKind, StoreKind},
    extent::{Extent, merge},
    files::{BLOBS as BLOBS_FOLDER, FileStore},
    overview_store::{OverviewStore, Replica, RepositoryUsage, ScopeUsage},
    postgres::{PostgresStore, PostgresTokens},
    shared_contents::SharedContents,
    sqlite::{FILE as SQLITE_FILE, SqliteStore, SqliteTokens},
    token_store::{JOB_ID_PREFIX, TokenStore},
};
pub use self::{
    bucket::BucketUrl,
    postgres::{DatabaseUrl, DatabaseUrlError},
    store_url::StoreUrl,
    store_url_error::StoreUrlError,
    token_store::TokenRecord,
};
