//! Faults that services of this kind have had, each by its name.

use reqwest::{Response, StatusCode};

use crate::harness::{Caller, Server, body};

/// Whole groups of three bytes in base64, so nothing in it must be escaped.
fn query(id: &str) -> String {
    format!("&comp=block&blockid={id}")
}

async fn put_blocks(server: &Server, url: &str, blocks: &[(&str, &str)]) {
    for (id, content) in blocks {
        let put = server.put(url, &query(id), *content).await;
        assert_eq!(put.status(), StatusCode::CREATED);
    }
}

async fn put_list(server: &Server, url: &str, ids: &[&str]) -> StatusCode {
    let ids = ids.join("</Latest><Latest>");
    let list = format!("<BlockList><Latest>{ids}</Latest></BlockList>");
    server.put(url, "&comp=blocklist", list).await.status()
}

async fn read(server: &Server, client: &Caller<'_>, key: &str) -> String {
    let (_, url) = client.found(key).await.unwrap();
    server.get(&url).await.text().await.unwrap()
}

async fn assert_finalized(response: Response) {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await["ok"], true);
}

#[tokio::test]
async fn a_block_that_is_sent_again_may_have_another_length_and_counts_as_it_came_last() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    let blocks = [("AAAA", "first, and longer"), ("BBBB", "b"), ("AAAA", "a")];
    put_blocks(&server, &url, &blocks).await;
    assert_eq!(put_list(&server, &url, &["AAAA", "BBBB"]).await, 201);
    assert_finalized(client.finalize("key", 2).await).await;
    assert_eq!(read(&server, &client, "key").await, "ab");
}

#[tokio::test]
async fn the_last_list_decides_which_blocks_are_content_and_in_which_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    put_blocks(
        &server,
        &url,
        &[("AAAA", "a"), ("BBBB", "b"), ("CCCC", "c")],
    )
    .await;
    assert_eq!(
        put_list(&server, &url, &["AAAA", "BBBB", "CCCC"]).await,
        201
    );
    assert_eq!(put_list(&server, &url, &["CCCC", "AAAA"]).await, 201);
    assert_finalized(client.finalize("key", 2).await).await;
    assert_eq!(read(&server, &client, "key").await, "ca");
}

#[tokio::test]
async fn a_wrong_size_is_refused_and_mended_by_a_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    server.put(&url, "", "content").await;
    for size in [0, 6, 8] {
        let finalized = client.finalize("key", size).await;
        assert_eq!(finalized.status(), StatusCode::BAD_REQUEST);
        assert_eq!(client.found_key("key").await, None);
    }
    assert_finalized(client.finalize("key", 7).await).await;
    assert_eq!(read(&server, &client, "key").await, "content");
}

#[tokio::test]
async fn an_upload_that_nobody_knows_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let patched = client.patch(4711, "bytes 0-0/*", "x").await;
    assert_eq!(patched, StatusCode::NOT_FOUND);
    assert_eq!(client.commit(4711, 1).await, StatusCode::NOT_FOUND);
    let finalized = client.finalize("key", 1).await;
    assert_eq!(finalized.status(), StatusCode::NOT_FOUND);
}

/// An upload that never came is no empty entry: whoever finds it would take it for the content. Version 1 has no other
/// way to save an empty one.
#[tokio::test]
async fn a_reservation_without_bytes_is_no_entry_of_version_2() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    let finalized = client.finalize("key", 0).await;
    assert_eq!(finalized.status(), StatusCode::BAD_REQUEST);
    // Blocks are none before a list names them.
    put_blocks(&server, &url, &[("AAAA", "a")]).await;
    let finalized = client.finalize("key", 0).await;
    assert_eq!(finalized.status(), StatusCode::BAD_REQUEST);
    assert_eq!(client.found_key("key").await, None);
    assert_eq!(put_list(&server, &url, &["AAAA"]).await, 201);
    assert_finalized(client.finalize("key", 1).await).await;

    let id = client.reserved("empty").await;
    assert_eq!(client.commit(id, 0).await, StatusCode::NO_CONTENT);
    assert_eq!(read(&server, &client, "empty").await, "");
}
