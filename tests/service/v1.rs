//! Version 1: round trip, parts, refusals.

use buildkit_gha::protocol::scope::Permission;
use reqwest::{Method, StatusCode};

use crate::harness::{MAIN, Server, body};

#[tokio::test]
async fn parts_in_any_order_become_the_entry() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let id = client.reserved("key").await;
    let patch = async |range, part: &str| {
        let status = client.patch(id, range, part).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    };
    patch("bytes 5-9/*", "world").await;
    patch("bytes 10-10/*", "?").await;
    patch("bytes 0-4/*", "hello").await;
    // The same range again: its answer may have been lost.
    patch("bytes 10-10/*", "!").await;
    assert_eq!(client.found_key("key").await, None);
    assert_eq!(client.commit(id, 11).await, StatusCode::NO_CONTENT);
    // A commit whose answer was lost may be repeated, with the same size only.
    assert_eq!(client.commit(id, 11).await, StatusCode::NO_CONTENT);
    assert_eq!(client.commit(id, 10).await, StatusCode::CONFLICT);

    let (key, url) = client.found("key").await.unwrap();
    assert_eq!(key, "key");
    assert_eq!(server.get(&url).await.text().await.unwrap(), "helloworld!");
    let range = server.get_range(&url, "bytes=3-6").await;
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.headers()["content-range"], "bytes 3-6/11");
    assert_eq!(range.text().await.unwrap(), "lowo");
}

#[tokio::test]
async fn bad_parts_are_refused_and_harm_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let id = client.reserved("key").await;
    assert_eq!(
        client.patch(id, "bytes 0-4/*", "hello").await,
        StatusCode::NO_CONTENT
    );
    for (range, part) in [
        ("bytes 4-5/*", "xx"),
        ("bytes 0-9/*", "0123456789"),
        ("bytes -5-9/*", "xx"),
        ("bytes 9-5/*", "xx"),
        ("bytes 5-18446744073709551615/*", "xx"),
        ("bytes 5-6/*", "too long"),
        ("bytes 5-6/*", "x"),
        ("nonsense", "x"),
    ] {
        let status = client.patch(id, range, part).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{range}");
    }
    assert_eq!(
        client.patch(id + 1, "bytes 5-5/*", "x").await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(client.commit(id, 6).await, StatusCode::BAD_REQUEST);
    assert_eq!(client.found_key("key").await, None);
    assert_eq!(client.commit(id, 5).await, StatusCode::NO_CONTENT);
    let (_, url) = client.found("key").await.unwrap();
    assert_eq!(server.get(&url).await.text().await.unwrap(), "hello");
}

#[tokio::test]
async fn a_gap_cannot_be_committed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let id = client.reserved("key").await;
    client.patch(id, "bytes 0-0/*", "a").await;
    client.patch(id, "bytes 2-2/*", "c").await;
    for size in [1, 2, 3] {
        assert_eq!(client.commit(id, size).await, StatusCode::BAD_REQUEST);
    }
    assert_eq!(client.found_key("key").await, None);
}

#[tokio::test]
async fn a_taken_key_and_a_read_only_token_are_refused_in_the_service_s_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    client.reserved("key").await;
    let taken = client.reserve("key").await;
    assert_eq!(taken.status(), StatusCode::CONFLICT);
    let taken = body(taken).await;
    assert_eq!(taken["typeKey"], "ArtifactCacheItemAlreadyExistsException");

    let reader = server.client(server.token(&[(MAIN, Permission::READ)]));
    let denied = reader.reserve("other").await;
    assert_eq!(denied.status(), StatusCode::FORBIDDEN);
    let message = body(denied).await["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("cache write denied"), "{message}");
}

#[tokio::test]
async fn another_job_cannot_touch_an_upload() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let id = server.main().reserved("key").await;
    let strangers = [
        server.token(&[("refs/heads/other", Permission::READ_WRITE)]),
        server.token_of("other/repo", &[(MAIN, Permission::READ_WRITE)]),
        server.token(&[(MAIN, Permission::READ)]),
    ];
    for token in strangers {
        let stranger = server.client(token);
        let status = stranger.patch(id, "bytes 0-0/*", "x").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(stranger.commit(id, 0).await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn malformed_bodies_are_the_client_s_fault() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    for text in ["", "{}", "[", r#"{"key":1,"version":"v"}"#] {
        let request = client.request(Method::POST, "/_apis/artifactcache/caches");
        let answer = request.body(text).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{text}");
        assert!(body(answer).await["message"].is_string());
    }
    let huge = vec![b' '; 1 << 20];
    let request = client.request(Method::POST, "/_apis/artifactcache/caches");
    let answer = request.body(huge).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_upload_is_in_flight_until_it_is_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let in_flight = async || {
        let uploads = server.metric("buildkit_gha_service_uploads_in_flight ");
        (
            uploads.await,
            server.metric("buildkit_gha_service_upload_bytes ").await,
        )
    };
    assert_eq!(in_flight().await, (0, 0));
    let id = server.main().reserved("k").await;
    server.main().patch(id, "bytes 0-2/*", "abc").await;
    assert_eq!(in_flight().await, (1, 3));
    server.main().commit(id, 3).await;
    assert_eq!(in_flight().await, (0, 0));
}
