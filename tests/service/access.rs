//! The access log, as the real program writes it.

use std::{fs, path::Path};

use reqwest::{Method, StatusCode};

use crate::program::{Program, Remote};

/// What the program has said once it has ended; `work` is done with it before.
async fn log_of(arguments: &[&str], work: impl AsyncFn(&Remote)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, log) = (dir.path().join("data"), dir.path().join("log"));
    let program = Program::start_with(&data_dir, &log, arguments);
    let remote = program.client(&data_dir);
    work(&remote).await;
    program.end();
    read(&log)
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap()
}

async fn some_requests(remote: &Remote) {
    let url = remote.create("layer-7").await.unwrap().json();
    let url = url["signed_upload_url"].as_str().unwrap().to_owned();
    remote.put(&url, "", b"content".to_vec()).await.unwrap();
    remote.finalize("layer-7", 7).await.unwrap();
    let read = remote.read("layer-7").await.unwrap();
    assert_eq!(read.unwrap(), b"content");
    assert_eq!(remote.find("absent").await.unwrap(), None);
    let taken = remote.reserve("layer-7").await.unwrap();
    assert_eq!(taken.status, StatusCode::CONFLICT);
    let nowhere = remote.request(Method::GET, "/healthz");
    assert_eq!(Remote::send(nowhere).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn each_request_is_one_line() {
    let log = log_of(&[], some_requests).await;
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("buildkit_gha::access"))
        .collect();
    let entry = r#"key="layer-7" scope="refs/heads/main" repository="local/cache""#;
    let expected = [
        vec!["INFO", r#"operation="reserve""#, entry, "status=200"],
        vec![r#"operation="put_blob""#, entry, "status=201 bytes=7"],
        vec![r#"operation="commit""#, entry, "status=200 size=7"],
        vec![r#"operation="lookup""#, entry, "status=200 size=7"],
        vec![
            r#"operation="download""#,
            entry,
            "status=200 bytes=7 size=7",
        ],
        vec![r#"operation="lookup" key="absent" repository="local/cache""#],
        vec![
            r#"operation="reserve""#,
            entry,
            "status=409",
            "already exists",
        ],
    ];
    assert_eq!(lines.len(), expected.len(), "{log}");
    for (line, parts) in lines.iter().zip(expected) {
        for part in parts.iter().chain(&["duration_ms=", "client=127.0.0.1"]) {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    for secret in ["sig=", "Bearer", "eyJ"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn the_access_log_can_be_switched_off() {
    let log = log_of(&["--access-log", "off"], some_requests).await;
    assert!(!log.contains("operation="), "{log}");
}

/// The proxy of this test is the client itself, which says what a proxy would.
#[tokio::test]
async fn urls_behind_a_tls_proxy_are_https_when_it_is_named() {
    let found = async |remote: &Remote| {
        let request = remote.request(
            Method::GET,
            "/_apis/artifactcache/cache?keys=layer-7&version=v",
        );
        let request = request
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "cache.example")
            .header("x-forwarded-for", "192.0.2.7");
        let answer = Remote::send(request).await.unwrap();
        let url = answer.json()["archiveLocation"].as_str().map(str::to_owned);
        url.unwrap_or_else(|| panic!("{}", answer.text()))
    };
    let log = log_of(&["--trusted-proxy", "::1,127.0.0.0/8"], async |remote| {
        some_requests(remote).await;
        let url = found(remote).await;
        assert!(url.starts_with("https://cache.example/blobs/"), "{url}");
    })
    .await;
    assert!(log.contains("client=192.0.2.7"), "{log}");
    assert!(!log.contains("--trusted-proxy"), "{log}");

    let log = log_of(&[], async |remote| {
        some_requests(remote).await;
        for _ in 0..2 {
            let url = found(remote).await;
            assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        }
    })
    .await;
    let advice = log.matches("say --trusted-proxy 127.0.0.1 if it is yours, or --base-url");
    assert_eq!(advice.count(), 1, "{log}");
    assert!(!log.contains("192.0.2.7"), "{log}");
}
