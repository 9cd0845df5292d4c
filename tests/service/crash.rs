//! What is left after the process or the machine has died.

use std::fs;

use buildkit_gha::service::{Config, OpenError, Service, system_clock};
use reqwest::StatusCode;

use crate::harness::Server;

#[tokio::test]
async fn an_unfinished_upload_dies_with_its_process_and_frees_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    client.save("committed", b"content").await;
    let id = client.reserved("half").await;
    client.patch(id, "bytes 0-4/*", "hello").await;
    client.reserved("nothing-uploaded").await;
    let (_, url) = client.found("committed").await.unwrap();
    server.stop().await;

    // What a crash between the rename and the row leaves behind, and a file that is not ours.
    fs::write(dir.path().join("blobs/12345"), "stray").unwrap();
    fs::write(dir.path().join("blobs/README"), "kept").unwrap();
    fs::write(dir.path().join("uploads/6789"), "stray").unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    assert!(!dir.path().join("blobs/12345").exists());
    assert!(dir.path().join("blobs/README").exists());
    assert_eq!(fs::read_dir(dir.path().join("uploads")).unwrap().count(), 0);
    assert_eq!(client.commit(id, 5).await, StatusCode::NOT_FOUND);
    assert_eq!(client.found_key("half").await, None);
    client.save("half", b"whole").await;
    client.save("nothing-uploaded", b"now").await;
    // Signed URLs outlive the process; only the port has changed.
    let path = url.split_once("/blobs/").unwrap().1;
    let content = server.get(&format!("{}/blobs/{path}", server.url)).await;
    assert_eq!(content.text().await.unwrap(), "content");
}

#[tokio::test]
async fn a_data_directory_serves_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let second = Service::open(Config::new(dir.path()), system_clock()).await;
    assert!(matches!(second, Err(OpenError::InUse(_))));
    server.stop().await;
    let third = Service::open(Config::new(dir.path()), system_clock()).await;
    assert!(third.is_ok());
}
