//! Version 2: JSON and protobuf, the uploads of both Azure clients, refusals.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use buildkit_gha::{proto::actions as pb, protocol::scope::Permission};
use prost::Message;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{MAIN, Server, VERSION, body};

fn block(id: &str) -> String {
    BASE64_STANDARD.encode(id)
}

fn block_list<const N: usize>(ids: [&str; N]) -> String {
    let ids = ids.map(|id| format!("<Latest>{}</Latest>", block(id)));
    let ids = ids.concat();
    format!("<BlockList>{ids}</BlockList>")
}

#[tokio::test]
async fn blocks_out_of_order_and_repeated_become_the_entry() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    for (id, content) in [
        ("2", "world"),
        ("unused", "xxx"),
        ("1", "HELLO"),
        ("1", "hello "),
    ] {
        let query = format!("&comp=block&blockid={}", block(id).replace('=', "%3D"));
        let put = server.put(&url, &query, content).await;
        assert_eq!(put.status(), StatusCode::CREATED);
        assert!(put.headers().contains_key("x-ms-request-id"));
    }
    let unknown = server
        .put(&url, "&comp=blocklist", block_list(["1", "9"]))
        .await;
    assert_eq!(unknown.status(), StatusCode::BAD_REQUEST);
    assert_eq!(unknown.headers()["x-ms-error-code"], "InvalidBlockList");
    let listed = server
        .put(&url, "&comp=blocklist", block_list(["1", "2"]))
        .await;
    assert_eq!(listed.status(), StatusCode::CREATED);
    assert!(listed.headers().contains_key("etag"));
    assert!(listed.headers().contains_key("last-modified"));

    let lookup = json!({"key": "key", "restore_keys": ["key"], "version": VERSION});
    let miss = body(
        client
            .twirp("GetCacheEntryDownloadURL", lookup.clone())
            .await,
    )
    .await;
    assert_eq!(miss["ok"], false);
    let short = client.finalize("key", 10).await;
    assert_eq!(short.status(), StatusCode::BAD_REQUEST);
    assert_eq!(body(short).await["code"], "invalid_argument");
    let finalized = body(client.finalize("key", 11).await).await;
    assert_eq!(finalized["ok"], true);
    assert!(
        finalized["entry_id"]
            .as_str()
            .unwrap()
            .parse::<i64>()
            .is_ok()
    );
    assert_eq!(body(client.finalize("key", 11).await).await["ok"], true);

    let hit = body(client.twirp("GetCacheEntryDownloadURL", lookup).await).await;
    assert_eq!(hit["matched_key"], "key");
    let url = hit["signed_download_url"].as_str().unwrap();
    assert_eq!(server.get(url).await.text().await.unwrap(), "hello world");
}

#[tokio::test]
async fn the_entry_never_changes_after_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    assert_eq!(
        server.put(&url, "", "first").await.status(),
        StatusCode::CREATED
    );
    assert_eq!(client.finalize("key", 5).await.status(), StatusCode::OK);
    let late = server.put(&url, "", "other").await;
    assert_eq!(late.status(), StatusCode::NOT_FOUND);
    let (_, url) = client.found("key").await.unwrap();
    assert_eq!(server.get(&url).await.text().await.unwrap(), "first");
}

#[tokio::test]
async fn protobuf_is_answered_in_protobuf() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let call = async |method: &str, message: Vec<u8>| {
        let path = format!("/twirp/github.actions.results.api.v1.CacheService/{method}");
        let request = client.request(Method::POST, &path);
        let request = request.header("content-type", "application/protobuf");
        let response = request.body(message).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/protobuf");
        response.bytes().await.unwrap()
    };
    let create = pb::CreateCacheEntryRequest {
        key: "key".into(),
        version: VERSION.into(),
        metadata: None,
    };
    let created = call("CreateCacheEntry", create.encode_to_vec()).await;
    let created = pb::CreateCacheEntryResponse::decode(created).unwrap();
    assert!(created.ok);
    server.put(&created.signed_upload_url, "", "content").await;
    let finalize = pb::FinalizeCacheEntryUploadRequest {
        key: "key".into(),
        version: VERSION.into(),
        size_bytes: 7,
        metadata: None,
    };
    let finalized = call("FinalizeCacheEntryUpload", finalize.encode_to_vec()).await;
    assert!(
        pb::FinalizeCacheEntryUploadResponse::decode(finalized)
            .unwrap()
            .ok
    );
    let lookup = pb::GetCacheEntryDownloadUrlRequest {
        key: "ke".into(),
        version: VERSION.into(),
        ..Default::default()
    };
    let found = call("GetCacheEntryDownloadURL", lookup.encode_to_vec()).await;
    let found = pb::GetCacheEntryDownloadUrlResponse::decode(found).unwrap();
    assert_eq!(found.matched_key, "key");
    let content = server
        .get(&found.signed_download_url)
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(content, "content");
}

#[tokio::test]
async fn refusals_are_twirp_s() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    client.create("key").await;
    let message = json!({"key": "key", "version": VERSION});
    let taken = client.twirp("CreateCacheEntry", message.clone()).await;
    assert_eq!(taken.status(), StatusCode::CONFLICT);
    assert_eq!(body(taken).await["code"], "already_exists");

    let reader = server.client(server.token(&[(MAIN, Permission::READ)]));
    let denied = reader.twirp("CreateCacheEntry", message.clone()).await;
    assert_eq!(denied.status(), StatusCode::OK);
    let denied = body(denied).await;
    assert_eq!(denied["ok"], false);
    let words = denied["message"].as_str().unwrap();
    assert!(words.starts_with("cache write denied: "), "{words}");

    let denied = reader.finalize("key", 0).await;
    assert_eq!(denied.status(), StatusCode::OK);
    assert_eq!(body(denied).await["ok"], false);

    let nothing = client.finalize("never-created", 1).await;
    assert_eq!(nothing.status(), StatusCode::NOT_FOUND);
    let empty = client.finalize("key", 1).await;
    assert_eq!(empty.status(), StatusCode::BAD_REQUEST);
    let stranger = server
        .client("x.y.z".into())
        .twirp("CreateCacheEntry", message)
        .await;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(body(stranger).await["code"], "unauthenticated");
}

/// The bytes of small blocks are copied together by the commit, to where the part would have been.
#[tokio::test]
async fn a_part_that_ends_after_the_commit_harms_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("key").await;
    let query = |id| format!("&comp=block&blockid={}", block(id).replace('=', "%3D"));
    for (id, content) in [("1", "world"), ("2", "hello "), ("unused", "xxx")] {
        let put = server.put(&url, &query(id), content).await;
        assert_eq!(put.status(), StatusCode::CREATED);
    }
    let address = server.url.strip_prefix("http://").unwrap();
    let path = url.strip_prefix(&server.url).unwrap();
    let head = format!(
        "PUT {path}{} HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n",
        query("late")
    );
    let mut late = TcpStream::connect(address).await.unwrap();
    late.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    late.read_exact(&mut answer).await.unwrap();
    assert_eq!(
        answer, *b"HTTP/1.1 100",
        "it has a place and waits for its bytes"
    );

    let listed = server
        .put(&url, "&comp=blocklist", block_list(["2", "1"]))
        .await;
    assert_eq!(listed.status(), StatusCode::CREATED);
    assert_eq!(client.finalize("key", 11).await.status(), StatusCode::OK);
    drop(late);
    server.stop().await;
    let server = Server::start(dir.path()).await;
    let (_, url) = server.main().found("key").await.unwrap();
    assert_eq!(server.get(&url).await.text().await.unwrap(), "hello world");
}
