//! Requests as spans, sent to a collector: a stand-in here. The collector of OpenTelemetry takes those of the gateway
//! in `e2e/tests/traces.rs`, by the same way.

use std::process::Command;

use axum::{Router, body::Bytes, http::Uri};
use tokio::{net::TcpListener, sync::mpsc};

use crate::program::Program;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Where it listens, and the bodies that come to `/v1/traces`.
async fn collector() -> (String, mpsc::Receiver<Bytes>) {
    let (came, spans) = mpsc::channel(100);
    let take = |uri: Uri, body: Bytes| async move {
        assert_eq!(uri.path(), "/v1/traces");
        came.send(body).await.unwrap();
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(take);
    // It ends with the runtime of the test.
    #[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, spans)
}

fn has(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_collector_gets_the_requests_under_the_spans_of_their_clients() {
    let (url, mut spans) = collector().await;
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, log) = (dir.path().join("data"), dir.path().join("log"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"));
    program
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_SERVICE_NAME", "cache-of-the-team");
    let program = Program::from(program, &data_dir, &log, &["--listen", "127.0.0.1:0"]);
    let remote = program.client(&data_dir);
    let upload = remote.upload_url("a-key").await;
    remote.put(&upload, "", b"content".to_vec()).await.unwrap();
    remote.finalize("a-key", 7).await.unwrap();
    let health = format!("{}/healthz", program.url);
    remote.get(&health).await.unwrap();
    let span = "00f067aa0ba902b7";
    let find = remote
        .request(
            reqwest::Method::GET,
            "/_apis/artifactcache/cache?keys=a-key&version=v",
        )
        .header("traceparent", format!("00-{TRACE}-{span}-01"));
    find.send().await.unwrap();
    // It sends what is left before it ends.
    program.ask_to_end();
    let ended = tokio::task::spawn_blocking(move || program.wait());
    ended.await.unwrap();
    let mut all = Vec::new();
    while let Ok(body) = spans.try_recv() {
        all.extend_from_slice(&body);
    }
    for part in [
        "cache-of-the-team",
        "serve reserve",
        "serve put_blob",
        "serve commit",
        "serve lookup",
        "a-key",
    ] {
        assert!(has(&all, part.as_bytes()), "{part} in {all:?}");
    }
    assert!(
        has(&all, &hex::decode(TRACE).unwrap()),
        "the client's trace"
    );
    assert!(has(&all, &hex::decode(span).unwrap()), "under its span");
    let signature = upload.split("sig=").nth(1).unwrap();
    for part in ["Bearer", "devstore", "healthz", signature] {
        assert!(!has(&all, part.as_bytes()), "{part}");
    }
}
