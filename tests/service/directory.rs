//! Content in a directory of its own, `--store file:///…`, of a service with SQLite.

use std::{fs, path::Path};

use buildkit_gha::service::{Config, OpenError, Service, config::StoreUrl, system_clock};

use crate::{harness::Server, program::names};

fn config(data_dir: &Path, directory: &Path) -> Config {
    let store = format!("file://{}", directory.display());
    Config {
        store: Some(StoreUrl::parse(&store).unwrap()),
        ..Config::new(data_dir)
    }
}

async fn refusal(config: Config) -> String {
    let opened = Service::open(config, system_clock()).await;
    opened.err().unwrap().to_string()
}

#[tokio::test]
async fn content_is_there_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let (data, store) = (dir.path().join("data"), dir.path().join("mnt/content"));
    let server = Server::start_with(config(&data, &store)).await;
    server.main().save("k", b"content").await;
    server.main().reserved("half").await;
    server.stop().await;
    assert_eq!(names(&store.join("blobs")).len(), 1);
    assert!(!data.join("blobs").exists());

    let server = Server::start_with(config(&data, &store)).await;
    assert_eq!(names(&store.join("uploads")), [""; 0]);
    let (_, url) = server.main().found("k").await.unwrap();
    assert_eq!(server.get(&url).await.text().await.unwrap(), "content");
    let second = refusal(config(&dir.path().join("other"), &store)).await;
    assert!(second.contains("in use by another process"), "{second}");
    server.stop().await;
}

#[tokio::test]
async fn entries_and_directory_that_do_not_belong_together_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let server = Server::start_with(config(&place("data"), &place("content"))).await;
    server.main().save("k", b"content").await;
    server.stop().await;
    Server::start(&place("plain")).await.stop().await;

    let other = Service::open(config(&place("data"), &place("empty")), system_clock()).await;
    assert!(matches!(other, Err(OpenError::OtherContent { .. })));
    let without = refusal(Config::new(place("data"))).await;
    assert!(without.contains("give its --store"), "{without}");
    let moved = refusal(config(&place("plain"), &place("content"))).await;
    assert!(moved.contains("serve migrate"), "{moved}");
    let same = refusal(config(&place("plain"), &place("plain"))).await;
    assert!(same.contains("in use"), "{same}");
    assert_eq!(names(&place("content").join("blobs")).len(), 1);
}

/// Whoever believes that all is gone would drop all entries.
#[tokio::test]
async fn a_directory_that_is_not_mounted_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (data, store) = (dir.path().join("data"), dir.path().join("content"));
    let server = Server::start_with(config(&data, &store)).await;
    server.main().save("k", b"content").await;
    let (_, url) = server.main().found("k").await.unwrap();
    let away = dir.path().join("away");
    fs::rename(&store, &away).unwrap();
    assert!(server.main().lookup("k").await.status().is_server_error());
    assert!(server.get(&url).await.status().is_server_error());
    fs::rename(&away, &store).unwrap();
    assert_eq!(server.get(&url).await.text().await.unwrap(), "content");
    assert!(server.main().found_key("k").await.is_some());
    server.stop().await;
}
