//! What the rules expect of every pair of stores. A new one is a line at the end.

mod blobs;
mod entries;
mod eviction;
mod overviews;
mod sharing;
mod tokens;

use std::{
    any::Any,
    future::{Future, ready},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use jiff::Timestamp;

#[cfg(feature = "e2e")]
use super::postgres::PostgresStore;
use super::{
    blob_store::{BlobStore, BodyError, Published, StagedBlob},
    bucket::BucketStore,
    entry_store::{Entry, EntryName, EntryStore},
    error::{StoreError, StoreErrorKind},
    extent::Extent,
    files::FileStore,
    overview_store::OverviewStore,
    sqlite::{SqliteStore, SqliteTokens},
    token_store::TokenStore,
};
use crate::service::data_dir::DataDir;

/// A fresh pair of stores, and what they stand on.
struct Stores {
    entries: Arc<dyn EntryStore>,
    blobs: Arc<dyn BlobStore>,
    tokens: Arc<dyn TokenStore>,
    overviews: Arc<dyn OverviewStore>,
    _ground: Box<dyn Any>,
}

fn sqlite_and_files() -> impl Future<Output = Stores> {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(dir.path()).unwrap();
    let entries = SqliteStore::open(&data_dir).unwrap();
    ready(Stores {
        overviews: Arc::new(entries.clone()),
        entries: Arc::new(entries),
        blobs: Arc::new(FileStore::open(&data_dir).unwrap()),
        tokens: Arc::new(SqliteTokens::beside_store(&data_dir).unwrap()),
        _ground: Box::new(dir),
    })
}

#[cfg(feature = "e2e")] // It runs a server.
async fn postgres_and_files() -> Stores {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(dir.path()).unwrap();
    let entries = Arc::new(super::postgres::open_new().await);
    Stores {
        tokens: Arc::new(entries.tokens()),
        overviews: Arc::<PostgresStore>::clone(&entries),
        entries,
        blobs: Arc::new(FileStore::open(&data_dir).unwrap()),
        _ground: Box::new(dir),
    }
}

async fn sqlite_and_memory() -> Stores {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(dir.path()).unwrap();
    let entries = SqliteStore::open(&data_dir).unwrap();
    Stores {
        overviews: Arc::new(entries.clone()),
        entries: Arc::new(entries),
        blobs: Arc::new(BucketStore::in_memory(&data_dir)),
        tokens: Arc::new(SqliteTokens::beside_store(&data_dir).unwrap()),
        _ground: Box::new(dir),
    }
}

#[cfg(feature = "e2e")] // It runs servers.
async fn postgres_and(open: fn(&DataDir) -> BucketStore) -> Stores {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(dir.path()).unwrap();
    let entries = Arc::new(super::postgres::open_new().await);
    Stores {
        tokens: Arc::new(entries.tokens()),
        overviews: Arc::<PostgresStore>::clone(&entries),
        entries,
        blobs: Arc::new(open(&data_dir)),
        _ground: Box::new(dir),
    }
}

#[cfg(feature = "e2e")]
async fn postgres_and_s3() -> Stores {
    postgres_and(super::bucket::open_s3).await
}

#[cfg(feature = "e2e")]
async fn postgres_and_azure() -> Stores {
    postgres_and(super::bucket::open_azure).await
}

#[cfg(feature = "e2e")]
async fn postgres_and_gcs() -> Stores {
    postgres_and(super::bucket::open_gcs).await
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn name(scope: &str, key: &str) -> EntryName {
    EntryName {
        repository: "o/r".to_owned(),
        scope: scope.to_owned(),
        key: key.to_owned(),
        version: "v".to_owned(),
    }
}

#[track_caller]
fn assert_kind<T>(result: Result<T, StoreError>, expected: StoreErrorKind) {
    assert_eq!(result.err().map(|error| error.kind()), Some(expected));
}

fn body(pieces: &[&'static [u8]]) -> impl Stream<Item = Result<Bytes, BodyError>> + use<> {
    let pieces: Vec<_> = pieces
        .iter()
        .map(|piece| Ok(Bytes::from_static(piece)))
        .collect();
    stream::iter(pieces)
}

async fn put(blob: &dyn StagedBlob, bytes: &'static [u8]) -> Extent {
    let extent = blob.put(bytes.len() as u64, &mut body(&[bytes])).await;
    extent.unwrap()
}

impl Stores {
    /// Makes an entry of an upload, which reserves its name only now.
    async fn commit(&self, id: i64, name: EntryName, content: &[Extent], blob: &dyn StagedBlob) {
        self.entries.reserve(&name, id).await.unwrap();
        let published = blob.publish(content.to_vec()).await.unwrap();
        self.insert(id, name, &published).await.unwrap();
        blob.trim(&published).await;
    }

    async fn insert(&self, id: i64, name: EntryName, at: &Published) -> Result<(), StoreError> {
        let entry = Entry {
            id,
            content: id,
            name,
            size: at.extents.iter().map(|extent| extent.len).sum(),
            stored: at.stored,
            created: time(id),
            accessed: time(id),
        };
        self.entries.insert(&entry, &at.extents).await
    }

    /// Uploads and commits.
    async fn save(&self, id: i64, name: EntryName, bytes: &'static [u8]) {
        let blob = self.blobs.stage(id).await.unwrap();
        let extent = put(&*blob, bytes).await;
        self.commit(id, name, &[extent], &*blob).await;
    }

    async fn read(&self, id: i64, range: std::ops::Range<u64>) -> Result<Vec<u8>, StoreError> {
        let (entry, extents) = self.entries.content(id).await?.unwrap();
        let content = entry.published(extents);
        let pieces = self.blobs.open(entry.content, content, range).await?;
        let pieces: Vec<Bytes> = pieces.try_collect().await?;
        Ok(pieces.concat())
    }

    /// Whether there is a content, of any length.
    async fn is_published(&self, id: i64) -> bool {
        let content = Published {
            extents: Vec::new(),
            stored: 0,
        };
        self.blobs.open(id, content, 0..0).await.is_ok()
    }

    async fn blob_ids(&self) -> Vec<i64> {
        let mut ids: Vec<_> = self.blobs.ids().try_collect().await.unwrap();
        ids.sort_unstable();
        ids
    }
}

/// All tests of the contract, for each pair of stores.
macro_rules! contract {
    ($($stores:ident),*) => {
        $(mod $stores {
            contract! { @ $stores entries
                a_name_is_taken_from_its_reservation_until_its_entry_goes
                of_many_who_reserve_at_once_one_wins
                scopes_come_before_keys_and_exact_before_newest
                entries_are_listed_by_what_they_are_sorted_by
                entries_come_in_the_order_of_their_commits
                what_is_reserved_is_needed
                who_was_found_last_is_the_last_to_go
                the_store_answers_and_keeps_room
            }
            contract! { @ $stores eviction
                who_was_found_least_recently_comes_first
                the_newest_index_of_each_kind_is_marked
                who_was_found_meanwhile_stays
                what_entries_take_follows_what_there_is
                what_entries_take_is_right_after_many_at_once
            }
            contract! { @ $stores sharing
                entries_are_like_those_of_other_scopes
                equal_contents_become_one
                a_content_stays_until_its_last_entry_goes
                only_what_is_equal_and_there_is_shared
                an_entry_comes_with_a_content_that_is_there
                a_damaged_content_takes_all_its_entries_with_it
            }
            contract! { @ $stores overviews
                what_has_happened_is_summed_by_repository_and_day
                repositories_are_listed_with_what_they_take
                scopes_are_listed_with_what_they_take
                entries_are_found_by_their_keys_without_numbers
                who_shares_the_store_is_known
            }
            contract! { @ $stores tokens
                tokens_are_listed_as_they_were_made
                a_token_is_revoked_by_its_id_or_its_name
                tokens_that_ended_are_forgotten
            }
            contract! { @ $stores blobs
                parts_in_any_order_are_the_content_that_is_named
                parts_come_in_parallel
                a_part_that_does_not_come_leaves_the_others_alone
                an_empty_content_is_one
                what_was_taken_back_is_as_it_was
                what_is_thrown_away_is_gone
                a_large_content_comes_and_goes_in_pieces
                large_parts_are_the_content_that_is_named
                a_large_content_is_taken_back
                a_large_upload_is_thrown_away
            }
        })*
    };
    (@ $stores:ident $group:ident $($test:ident)*) => {
        $(#[tokio::test]
        async fn $test() {
            super::$group::$test(&super::$stores().await).await;
        })*
    };
}

contract!(sqlite_and_files, sqlite_and_memory);
#[cfg(feature = "e2e")]
contract!(
    postgres_and_files,
    postgres_and_s3,
    postgres_and_azure,
    postgres_and_gcs
);
