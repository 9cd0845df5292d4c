//! What one token may take of the service, and what others notice of it.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use buildkit_gha::protocol::scope::Permission;
use futures_util::{StreamExt as _, stream};
use reqwest::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{MAIN, Server};

const MIB: usize = 1 << 20;

/// More than a scope may have open.
const RESERVATIONS: usize = 1_001;

fn block(id: &str) -> String {
    format!(
        "&comp=block&blockid={}",
        BASE64_STANDARD.encode(id).replace('=', "%3D")
    )
}

fn list(ids: &[&str]) -> String {
    let latest = |id: &&str| format!("<Latest>{}</Latest>", BASE64_STANDARD.encode(id));
    let latest: String = ids.iter().map(latest).collect();
    format!("<BlockList>{latest}</BlockList>")
}

/// The one content file there is.
fn content_file(data_dir: &Path) -> PathBuf {
    let mut files = fs::read_dir(data_dir.join("blobs")).unwrap();
    files.next().unwrap().unwrap().path()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_has_its_share_of_reservations() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let pull = [("refs/pull/7/merge", Permission::READ_WRITE)];
    let greedy = server.client(server.token(&pull));
    let greedy = &greedy;
    let answers = stream::iter(0..RESERVATIONS)
        .map(|n| async move { greedy.reserve(&format!("k-{n}")).await.status() });
    let answers: Vec<_> = answers.buffered(16).collect().await;
    let refused = answers
        .iter()
        .filter(|s| **s == StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.count(), 1);
    // Neither the default branch nor another repository notices.
    server.main().save("key", b"content").await;
    let other = server.token_of("other/repo", &[(MAIN, Permission::READ_WRITE)]);
    server.client(other).save("key", b"content").await;
}

#[tokio::test]
async fn a_block_is_named_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    server.put(&url, &block("a"), vec![1; MIB]).await;
    let twice = server.put(&url, "&comp=blocklist", list(&["a", "a"])).await;
    assert_eq!(twice.status(), StatusCode::BAD_REQUEST);
    assert_eq!(twice.headers()["x-ms-error-code"], "InvalidBlockList");
    let refused = client.finalize("key", 2 * MIB as u64).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_entry_takes_no_more_room_than_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    for id in ["waste", "replaced", "replaced", "wanted", "more"] {
        let content = if id == "wanted" {
            vec![7; 1]
        } else {
            vec![1; 4 * MIB]
        };
        let put = server.put(&url, &block(id), content).await;
        assert_eq!(put.status(), StatusCode::CREATED);
    }
    let listed = server.put(&url, "&comp=blocklist", list(&["wanted"])).await;
    assert_eq!(listed.status(), StatusCode::CREATED);
    assert_eq!(client.finalize("key", 1).await.status(), StatusCode::OK);
    let (_, url) = client.found("key").await.unwrap();
    assert_eq!(server.get(&url).await.bytes().await.unwrap(), &[7][..]);
    let file = fs::metadata(content_file(dir.path())).unwrap();
    assert!(file.blocks() * 512 <= 64 << 10, "{} blocks", file.blocks());
}

/// A request that had begun to send before the commit goes on after it.
#[tokio::test]
async fn what_is_committed_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    server.put(&url, &block("a"), vec![1; MIB]).await;
    let (address, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut late = TcpStream::connect(address).await.unwrap();
    let query = block("b");
    let len = 8 * MIB;
    let head = format!("PUT /{path}{query} HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\n\r\n");
    late.write_all(head.as_bytes()).await.unwrap();
    late.write_all(&vec![2; 4 * MIB]).await.unwrap();
    let listed = server.put(&url, "&comp=blocklist", list(&["a"])).await;
    assert_eq!(listed.status(), StatusCode::CREATED);
    assert_eq!(
        client.finalize("key", MIB as u64).await.status(),
        StatusCode::OK
    );
    late.write_all(&vec![2; 4 * MIB]).await.unwrap();
    let mut answer = [0; 12];
    late.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 409");
    let file = fs::metadata(content_file(dir.path())).unwrap();
    assert_eq!(file.len(), MIB as u64);
    let (_, url) = client.found("key").await.unwrap();
    assert_eq!(server.get(&url).await.bytes().await.unwrap(), vec![1; MIB]);
}

/// Lists that never end are held in memory, each with what has come of it: not without bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn block_lists_that_stall_are_bounded() {
    const LEN: usize = 8 * MIB - 1;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    let (address, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let head =
        format!("PUT /{path}&comp=blocklist HTTP/1.1\r\nhost: x\r\ncontent-length: {LEN}\r\n\r\n");
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // One that is refused is not read to its end.
        let _ = stream.write_all(&vec![b' '; LEN - 1]).await;
        stalled.push(stream);
    }
    let mut refused = 0;
    for stream in &mut stalled {
        let mut answer = [0; 12];
        let soon = std::time::Duration::from_secs(3);
        let read = tokio::time::timeout(soon, stream.read_exact(&mut answer)).await;
        refused += usize::from(read.is_ok() && &answer == b"HTTP/1.1 503");
    }
    assert!(refused >= 2, "{refused} of 4 are refused");
    let other = server.token_of("other/repo", &[(MAIN, Permission::READ_WRITE)]);
    let other = server.client(other);
    let url = other.create("key").await;
    server.put(&url, &block("a"), vec![1; 1]).await;
    let listed = server.put(&url, "&comp=blocklist", list(&["a"])).await;
    assert_eq!(listed.status(), StatusCode::CREATED);
    let health = server.plain(Method::GET, &format!("{}/healthz", server.url));
    assert_eq!(health.send().await.unwrap().status(), StatusCode::OK);
}
