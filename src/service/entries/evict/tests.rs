//! Who waits for an eviction, and who does not.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use jiff::Timestamp;

use crate::{
    protocol::scope::{Permission, Scope},
    service::{
        Config, ErrorKind, Metrics, Service,
        audit::AuditLog,
        auth::Caller,
        budgets::{Budgets, Limit},
        data_dir::DataDir,
        entries::Entries,
        store::{
            BlobStore, Entry, EntryStore, FileStore, OverviewStore, SqliteStore, SqliteTokens,
            TokenStore,
        },
        stores::Stores,
        system_clock,
        upload::Upload,
    },
};

const REPOSITORY: &str = "o/r";

async fn open(dir: &std::path::Path) -> Service {
    let mut config = Config::new(dir);
    config.budgets.repository = Limit {
        bytes: None,
        entries: Some(1),
    };
    Service::open(config, system_clock()).await.unwrap()
}

fn caller(service: &Service, repository: &str) -> Caller {
    Caller {
        repository: repository.to_owned(),
        scopes: vec![Scope::new("main", Permission::READ_WRITE)],
        expires: service.now() + std::time::Duration::from_hours(1),
        token: None,
    }
}

async fn reserve(service: &Service, repository: &str, key: &str) -> Result<Arc<Upload>, ErrorKind> {
    let (caller, version) = (caller(service, repository), "v".to_owned());
    let reserved = service.reserve(caller, key.to_owned(), version, None).await;
    reserved.map_err(|error| error.kind())
}

async fn commit(service: &Service, upload: &Upload) {
    let body = [Ok(Bytes::from_static(b"x"))];
    let extent = upload.blob().put(1, &mut stream::iter(body)).await;
    upload.set_content(extent.unwrap()).unwrap();
    let (id, caller) = (upload.id, caller(service, REPOSITORY));
    let commit = async move |entries: Arc<Entries>| entries.commit(&caller, id, 1).await;
    service.run(commit).await.unwrap();
}

/// Two entries where one may be, and nobody may evict any.
async fn fill(service: &Service) {
    for key in ["a", "b"] {
        let upload = reserve(service, REPOSITORY, key).await.unwrap();
        commit(service, &upload).await;
    }
}

#[tokio::test]
async fn a_commit_waits_for_no_eviction_and_the_next_reservation_does() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).await;
    let evicting = service.entries().evictions.lock().await;
    let under_way = reserve(&service, REPOSITORY, "under way").await.unwrap();
    fill(&service).await;
    commit(&service, &under_way).await;
    assert_eq!(service.entries().totals().await.unwrap().all.entries, 3);
    reserve(&service, "o/other", "c").await.unwrap();
    let mut waits = Box::pin(reserve(&service, REPOSITORY, "c"));
    assert!((&mut waits).now_or_never().is_none());
    drop(evicting);
    service.collect().await.unwrap();
    waits.await.unwrap();
    assert_eq!(service.entries().totals().await.unwrap().all.entries, 1);
}

#[tokio::test]
async fn who_finds_no_room_in_time_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).await;
    fill(&service).await;
    // The clock runs ahead while all wait.
    tokio::time::pause();
    let refused = reserve(&service, REPOSITORY, "c").await;
    assert_eq!(refused.err(), Some(ErrorKind::NoRoom));
}

/// Where several processes share a database.
#[tokio::test]
async fn two_who_evict_at_once_evict_no_more_than_one() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(dir.path()).unwrap();
    let database = SqliteStore::open(&data_dir).unwrap();
    let overviews: Arc<dyn OverviewStore> = Arc::new(database.clone());
    let store: Arc<dyn EntryStore> = Arc::new(database);
    let blobs: Arc<dyn BlobStore> = Arc::new(FileStore::open(&data_dir).unwrap());
    let tokens: Arc<dyn TokenStore> = Arc::new(SqliteTokens::beside_store(&data_dir).unwrap());
    for id in 0..50 {
        let entry = Entry {
            accessed: Timestamp::from_second(id).unwrap(),
            ..Entry::of_one_byte(id, &id.to_string())
        };
        store.reserve(&entry.name, id).await.unwrap();
        store.insert(&entry, &[]).await.unwrap();
    }
    let mut budgets = Budgets::default();
    budgets.repository.entries = Some(20);
    let metrics = Metrics::new(dir.path(), budgets);
    let process = || {
        let stores = Stores {
            overviews: Arc::clone(&overviews),
            entries: Arc::clone(&store),
            blobs: Arc::clone(&blobs),
            tokens: Arc::clone(&tokens),
        };
        let audit = AuditLog::open(None, system_clock()).unwrap();
        Entries::new(
            stores,
            system_clock(),
            Arc::default(),
            Arc::new(audit),
            budgets,
        )
    };
    let (one, other) = (process(), process());
    let (first, second) = tokio::join!(one.evict_excess(&metrics), other.evict_excess(&metrics));
    first.unwrap();
    second.unwrap();
    assert_eq!(store.usage(Some(REPOSITORY)).await.unwrap().entries, 18);
}
