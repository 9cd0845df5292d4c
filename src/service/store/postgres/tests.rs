//! What only PostgreSQL promises, on a real server.

#[path = "../../../../tests/postgres/mod.rs"]
mod server;

use jiff::Timestamp;

use self::server::{Database, Postgres};
use super::{
    DatabaseUrl, PostgresStore,
    migrations::{MIGRATIONS, VERSION_1},
};
use crate::{
    secret::Secret,
    service::store::{
        entry_store::{Entry, EntryStore, Filter, LeastRecentlyUsed, Search, Totals, Usage},
        error::{StoreError, StoreErrorKind},
        extent::{Extent, ObjectId},
        shared_contents::SharedContents as _,
    },
};

/// A store in a new database.
pub(in crate::service::store) async fn open_new() -> PostgresStore {
    open(&Postgres::shared().database()).await.unwrap()
}

async fn open(database: &Database<'_>) -> Result<PostgresStore, StoreError> {
    let url = DatabaseUrl::parse(&Secret::new(database.url()));
    PostgresStore::open(&url.unwrap()).await
}

fn entry(id: i64, key: &str) -> Entry {
    Entry::of_one_byte(id, key)
}

#[track_caller]
fn assert_conflict(result: Result<(), StoreError>) {
    let kind = result.err().map(|error| error.kind());
    assert_eq!(kind, Some(StoreErrorKind::Conflict));
}

#[tokio::test]
async fn a_name_is_taken_on_all_replicas_until_its_owner_is_gone() {
    let database = Postgres::shared().database();
    let one = open(&database).await.unwrap();
    let other = open(&database).await.unwrap();
    let (first, second) = (entry(1, "k"), entry(2, "k"));
    one.reserve(&first.name, 1).await.unwrap();
    assert_conflict(other.reserve(&second.name, 2).await);
    assert_eq!(other.reserved_by(&first.name).await.unwrap(), Some(1));

    database.query("UPDATE instances SET expires_at = clock_timestamp()");
    other.reserve(&second.name, 2).await.unwrap();
    assert_conflict(one.insert(&first, &[]).await);
    one.release(1).await.unwrap();
    other.insert(&second, &[]).await.unwrap();
    assert_eq!(one.by_name(&first.name).await.unwrap().unwrap().id, 2);
}

#[tokio::test]
async fn who_renews_keeps_what_it_has_reserved_and_who_ends_does_not() {
    let database = Postgres::shared().database();
    let one = open(&database).await.unwrap();
    let other = open(&database).await.unwrap();
    let name = entry(1, "k").name;
    one.reserve(&name, 1).await.unwrap();
    database.query("UPDATE instances SET expires_at = clock_timestamp()");
    one.renew_lease().await.unwrap();
    assert_conflict(other.reserve(&name, 2).await);
    one.close().await.unwrap();
    other.reserve(&name, 2).await.unwrap();

    let past = "UPDATE instances SET expires_at = clock_timestamp() - interval '2 hours'";
    database.query(past);
    one.renew_lease().await.unwrap();
    let left = database.query("SELECT count(*) FROM reservations");
    assert_eq!(left, "0", "what the dead have left is removed");
}

#[tokio::test]
async fn what_is_given_up_while_the_database_is_away_is_free_when_it_is_back() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let store = open(&database).await.unwrap();
    let [kept, given_up] = ["kept", "given up"].map(|key| entry(1, key).name);
    store.reserve(&kept, 1).await.unwrap();
    store.reserve(&given_up, 2).await.unwrap();
    postgres.stop();
    let error = store.release(2).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unreachable);
    postgres.restart();
    store.reserve(&given_up, 3).await.unwrap();
    assert_conflict(store.reserve(&kept, 4).await);
    store.renew_lease().await.unwrap();
    assert_eq!(store.reserved_by(&given_up).await.unwrap(), Some(3));
    assert_eq!(store.stale.all(), Vec::<i64>::new());
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_repeated() {
    let store = open_new().await;
    let entry = entry(1, "k");
    let extents = [Extent {
        object: ObjectId(9),
        offset: 1,
        len: 1,
    }];
    store.reserve(&entry.name, 1).await.unwrap();
    store.insert(&entry, &extents).await.unwrap();
    store.insert(&entry, &extents).await.unwrap();
    assert_eq!(store.content(1).await.unwrap().unwrap().1, extents);
}

#[tokio::test]
async fn the_longest_names_are_stored_and_found() {
    let store = open_new().await;
    // Four bytes each that do not repeat, so that nothing makes them shorter.
    let long = |first: u32| -> String {
        let chars = (0..512).map(|at| char::from_u32(first + at * 61));
        chars.map(Option::unwrap).collect()
    };
    let mut entry = entry(1, &long(0x20000));
    entry.name.version = long(0x24000);
    entry.name.scope = long(0x28000);
    store.reserve(&entry.name, 1).await.unwrap();
    store.insert(&entry, &[]).await.unwrap();
    let mut prefix: String = entry.name.key.chars().take(511).collect();
    let mut search = Search {
        repository: "o/r".to_owned(),
        scopes: vec![entry.name.scope.clone()],
        keys: vec![prefix.clone()],
        version: entry.name.version.clone(),
    };
    assert_eq!(store.find(&search).await.unwrap().unwrap().id, 1);
    prefix.push('\0');
    search.keys = vec![prefix.clone()];
    assert!(store.find(&search).await.unwrap().is_none());
    let filter = Filter {
        key_prefix: prefix,
        ..Filter::default()
    };
    assert_eq!(store.count(&filter).await.unwrap(), 0);
}

#[tokio::test]
async fn many_that_start_at_once_make_the_tables_once() {
    let database = Postgres::shared().database();
    let opened = futures_util::future::join_all((0..8).map(|_| open(&database))).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    let version = database.query("SELECT version FROM schema_version");
    assert_eq!(version, MIGRATIONS.len().to_string());
    assert_eq!(database.query("SELECT count(*) FROM instances"), "8");
}

#[tokio::test]
async fn entries_of_the_first_version_count_and_are_known_as_indexes() {
    let database = Postgres::shared().database();
    database.query(VERSION_1);
    database.query(
        "CREATE TABLE schema_version (version integer NOT NULL); \
         INSERT INTO schema_version VALUES (1); \
         INSERT INTO entries (id, namespace, repository, scope, version, key, size, stored, \
             created_at, accessed_at) \
         SELECT id, 'n', 'o/r', 'main', 'v', key, 10, 10, id, id FROM (VALUES \
             (1, 'index-app-1-f921bd05#1'), (2, 'index-app-1-f921bd05#2'), \
             (3, 'index-app-1-f921bd05-sig#1'), (4, 'index.html'), (5, 'layer')) AS old (id, key)",
    );
    let store = open(&database).await.unwrap();
    let newest_indexes = async |newest_indexes| {
        let which = LeastRecentlyUsed {
            repository: None,
            newest_indexes,
            before: None,
        };
        let found = store.least_recently_used(&which, 10).await.unwrap();
        found.iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    assert_eq!(newest_indexes(true).await, [2, 3]);
    assert_eq!(newest_indexes(false).await, [1, 4, 5]);
    let usage = Usage {
        bytes: 50,
        entries: 5,
    };
    let expected = Totals {
        all: usage,
        shared_bytes: 0,
        largest_repository: usage,
        least_recent: Some(Timestamp::from_millisecond(1).unwrap()),
    };
    assert_eq!(store.totals().await.unwrap(), expected);
}

/// One that was there before takes each content for that of one entry, and goes on inserting.
#[tokio::test]
async fn nothing_is_shared_beside_a_replica_of_the_version_before() {
    let database = Postgres::shared().database();
    let store = open(&database).await.unwrap();
    assert!(store.may_share().await.unwrap());
    database.query(
        "INSERT INTO instances (id, expires_at) VALUES (7, clock_timestamp() + interval '1 hour')",
    );
    assert!(!store.may_share().await.unwrap());
    database.query(
        "INSERT INTO entries (id, namespace, repository, scope, version, key, size, stored, \
             created_at, accessed_at) VALUES (9, 'n', 'o/r', 'main', 'v', 'k', 1, 1, 1, 1); \
         INSERT INTO contents (id, extents) VALUES (9, '')",
    );
    assert_eq!(store.content(9).await.unwrap().unwrap().0.content, 9);
    database.query("UPDATE instances SET expires_at = clock_timestamp() WHERE id = 7");
    assert!(store.may_share().await.unwrap());
}

#[tokio::test]
async fn one_of_all_collects_until_it_is_gone() {
    let database = Postgres::shared().database();
    let [one, other, third] = [
        open(&database).await.unwrap(),
        open(&database).await.unwrap(),
        open(&database).await.unwrap(),
    ];
    assert!(one.is_collector().await.unwrap());
    assert!(!other.is_collector().await.unwrap());
    assert!(one.is_collector().await.unwrap());
    one.close().await.unwrap();
    assert!(other.is_collector().await.unwrap());
    assert!(!third.is_collector().await.unwrap());
    // It has died, and its lease has run out.
    database.query("UPDATE instances SET expires_at = clock_timestamp()");
    third.renew_lease().await.unwrap();
    assert!(third.is_collector().await.unwrap());
    other.renew_lease().await.unwrap();
    assert!(!other.is_collector().await.unwrap());
}

#[tokio::test]
async fn tables_of_a_newer_version_are_left_alone() {
    let database = Postgres::shared().database();
    drop(open(&database).await.unwrap());
    database.query("UPDATE schema_version SET version = 1000");
    let error = open(&database).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.message().contains("newer"), "{error}");
}

#[tokio::test]
async fn a_database_is_about_one_content() {
    let store = open_new().await;
    assert!(store.bind("a").await.unwrap());
    assert!(store.bind("a").await.unwrap());
    assert!(!store.bind("b").await.unwrap());
}
