//! Signed URLs: what they allow, and what Azure's clients need of the answers.

use reqwest::{Method, StatusCode};

use crate::harness::{HOUR, Server};

const KIB: usize = 1024;

#[tokio::test]
async fn ranges_are_served_as_azure_serves_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    // More than one buffer of the service.
    let content: Vec<u8> = (0..600 * KIB)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect();
    client.save("key", &content).await;
    let (_, url) = client.found("key").await.unwrap();

    let head = server.plain(Method::HEAD, &url).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["content-length"], content.len().to_string());
    assert_eq!(head.headers()["accept-ranges"], "bytes");
    assert_eq!(head.headers()["x-ms-blob-type"], "BlockBlob");
    for name in [
        "etag",
        "last-modified",
        "x-ms-request-id",
        "x-ms-version",
        "date",
    ] {
        assert!(head.headers().contains_key(name), "{name}");
    }
    assert_eq!(server.get(&url).await.bytes().await.unwrap(), content);
    let request = server.plain(Method::GET, &url);
    let request = request
        .header("x-ms-range", "bytes=300000-")
        .header("range", "bytes=0-1");
    let tail = request.send().await.unwrap();
    assert_eq!(tail.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        tail.headers()["content-range"],
        "bytes 300000-614399/614400"
    );
    assert_eq!(tail.bytes().await.unwrap(), content[300_000..]);
    let outside = server.get_range(&url, "bytes=614400-").await;
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(outside.headers()["x-ms-error-code"], "InvalidRange");
    assert_eq!(outside.headers()["content-range"], "bytes */614400");
    let text = outside.text().await.unwrap();
    assert!(text.contains("<Code>InvalidRange</Code>"), "{text}");
    let odd = server.get_range(&url, "bytes=5-1").await;
    assert_eq!(odd.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_url_opens_one_blob_for_one_purpose_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    client.save("key", b"content").await;
    let (_, read) = client.found("key").await.unwrap();
    let write = client.create("other").await;
    let denied = async |method: Method, url: &str, code: &str| {
        let answer = server.plain(method, url).body("x").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{code}");
        assert_eq!(answer.headers()["x-ms-error-code"], code);
    };
    denied(Method::GET, &write, "AuthorizationPermissionMismatch").await;
    denied(Method::PUT, &read, "AuthorizationPermissionMismatch").await;
    let (path, _) = read.split_once('?').unwrap();
    denied(Method::GET, path, "AuthenticationFailed").await;
    let (_, grant) = write.split_once('?').unwrap();
    denied(
        Method::PUT,
        &format!("{path}?{grant}"),
        "AuthenticationFailed",
    )
    .await;
    denied(
        Method::GET,
        &read.replace("sig=", "sig=A"),
        "AuthenticationFailed",
    )
    .await;
    let longer = read.replace("se=1", "se=2");
    denied(Method::GET, &longer, "AuthenticationFailed").await;
    assert_eq!(server.get(&read).await.status(), StatusCode::OK);
    server.advance(HOUR);
    denied(Method::GET, &read, "AuthenticationFailed").await;
    let (_, renewed) = client.found("key").await.unwrap();
    assert_eq!(server.get(&renewed).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_empty_blob_is_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let url = client.create("empty").await;
    let put = server
        .plain(Method::PUT, &url)
        .header("content-length", "0");
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(client.finalize("empty", 0).await.status(), StatusCode::OK);
    let (_, url) = client.found("empty").await.unwrap();
    let got = server.get(&url).await;
    assert_eq!(got.status(), StatusCode::OK);
    assert!(got.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn odd_puts_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let url = server.main().create("key").await;
    for (query, code) in [
        ("&comp=page", "InvalidQueryParameterValue"),
        ("&comp=block", "InvalidQueryParameterValue"),
        ("&comp=block&blockid=not-base64!", "InvalidBlockId"),
        ("&comp=blocklist", "InvalidBlockList"),
    ] {
        let answer = server.put(&url, query, "x").await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.headers()["x-ms-error-code"], code, "{query}");
    }
}

#[tokio::test]
async fn requests_and_bytes_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    client.save("key", b"content").await;
    let (_, url) = client.found("key").await.unwrap();
    server.get(&url).await.bytes().await.unwrap();
    let metrics = server.get(&format!("{}/metrics", server.url)).await;
    let metrics = metrics.text().await.unwrap();
    for line in [
        "buildkit_gha_service_requests_total{operation=\"reserve\",code=\"201\"} 1",
        "buildkit_gha_service_requests_total{operation=\"upload_part\",code=\"204\"} 1",
        "buildkit_gha_service_requests_total{operation=\"commit\",code=\"204\"} 1",
        "buildkit_gha_service_requests_total{operation=\"lookup\",code=\"200\"} 1",
        "buildkit_gha_service_requests_total{operation=\"download\",code=\"200\"} 1",
        "buildkit_gha_service_received_bytes_total 7",
        "buildkit_gha_service_sent_bytes_total 7",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\n{metrics}"
        );
    }
    let health = server.get(&format!("{}/healthz", server.url)).await;
    assert_eq!(health.status(), StatusCode::OK);
}
