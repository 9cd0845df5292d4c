//! Jobs of Forgejo, as the proxy of its runner sends them on.

use std::{fs, path::Path};

use aws_lc_rs::hmac;
use buildkit_gha::{
    protocol::scope::Permission,
    secret::Secret,
    service::{Config, config::AuditTarget},
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{HOUR, Server, VERSION, body};

const SECRET: &str = "shared with the runners";
const PULL: &str = "refs/pull/7/head";

fn config(dir: &Path) -> Config {
    Config {
        forgejo_secret: Some(Secret::new(SECRET)),
        audit_log: Some(AuditTarget::File(dir.join("audit"))),
        ..Config::new(dir.join("data"))
    }
}

/// The requests of one job, with what the proxy adds to each.
struct Job<'a> {
    server: &'a Server,
    repository: &'a str,
    isolation_key: &'a str,
    secret: &'a str,
    token: &'a str,
    began: i64,
}

impl<'a> Job<'a> {
    fn new(server: &'a Server, repository: &'a str, isolation_key: &'a str) -> Self {
        Self {
            server,
            repository,
            isolation_key,
            secret: SECRET,
            // Forgejo's own.
            token: "e30.e30.x",
            began: server.now(),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let (repository, began, key) = (self.repository, self.began, self.isolation_key);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let mac = hmac::sign(&secret, format!("{repository}>42>{began}>{key}").as_bytes());
        let url = format!("{}/_apis/artifactcache/{path}", self.server.url);
        let request = self
            .server
            .plain(method, &url)
            .bearer_auth(self.token)
            .header("Forgejo-Cache-Repo", repository)
            .header("Forgejo-Cache-RunNumber", "42")
            .header("Forgejo-Cache-RunId", "0ab1")
            .header("Forgejo-Cache-Timestamp", began)
            .header("Forgejo-Cache-MAC", hex::encode(mac))
            .header("Forgejo-Cache-Host", "http://runner.example:4711/sub");
        match key {
            "" => request,
            key => request.header("Forgejo-Cache-WriteIsolationKey", key),
        }
    }

    async fn send(&self, method: Method, path: &str) -> Response {
        self.request(method, path).send().await.unwrap()
    }

    async fn save(&self, key: &str, content: &'static str) {
        let post = async |path: &str, message: Value| {
            let request = self.request(Method::POST, path).json(&message);
            request.send().await.unwrap()
        };
        let reserved = post("caches", json!({"key": key, "version": VERSION})).await;
        assert_eq!(reserved.status(), StatusCode::CREATED);
        let path = format!("caches/{}", body(reserved).await["cacheId"]);
        let range = format!("bytes 0-{}/*", content.len() - 1);
        let upload = self.request(Method::PATCH, &path);
        let upload = upload.header("content-range", range).body(content);
        assert!(upload.send().await.unwrap().status().is_success());
        let committed = post(&path, json!({"size": content.len()})).await;
        assert!(committed.status().is_success());
    }

    /// The path that the proxy sends on of the URL in the answer to a lookup.
    async fn found(&self, key: &str) -> Option<String> {
        let path = format!("cache?keys={key}&version={VERSION}");
        let found = self.send(Method::GET, &path).await;
        if found.status() == StatusCode::NO_CONTENT {
            return None;
        }
        let found = body(found).await;
        let url = found["archiveLocation"].as_str().unwrap();
        let prefix = "http://runner.example:4711/sub/0ab1/_apis/artifactcache/";
        Some(url.strip_prefix(prefix).unwrap().to_owned())
    }
}

#[tokio::test]
async fn jobs_read_by_way_of_their_runners_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(config(dir.path())).await;
    let job = Job::new(&server, "o/r", "");
    job.save("key", "content").await;
    let path = job.found("key").await.unwrap();
    let read = job.send(Method::GET, &path).await;
    assert_eq!(read.status(), StatusCode::OK);
    assert_eq!(read.text().await.unwrap(), "content");
    let range = job.request(Method::GET, &path).header("range", "bytes=1-3");
    let range = range.send().await.unwrap();
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.text().await.unwrap(), "ont");

    let other = Job::new(&server, "o/other", "");
    assert_eq!(other.found("key").await, None);
    let read = other.send(Method::GET, &path).await;
    assert_eq!(read.status(), StatusCode::NOT_FOUND);
    let url = format!("{}/_apis/artifactcache/{path}", server.url);
    let read = server.get(&url).await;
    assert_eq!(read.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_pull_request_changes_nothing_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(config(dir.path())).await;
    let main = Job::new(&server, "o/r", "");
    let pull = Job::new(&server, "o/r", PULL);
    let other = Job::new(&server, "o/r", "refs/pull/8/head");
    main.save("main", "of main").await;
    pull.save("pull", "of a pull request").await;
    assert!(pull.found("main").await.is_some());
    let path = pull.found("pull").await.unwrap();
    for job in [&main, &other] {
        assert_eq!(job.found("pull").await, None);
        let read = job.send(Method::GET, &path).await;
        assert_eq!(read.status(), StatusCode::NOT_FOUND);
    }
    // It takes no key of the others.
    pull.save("main", "of a pull request").await;
    let path = main.found("main").await.unwrap();
    let read = main.send(Method::GET, &path).await;
    assert_eq!(read.text().await.unwrap(), "of main");
}

#[tokio::test]
async fn what_the_secret_does_not_prove_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(config(dir.path())).await;
    let job = Job::new(&server, "o/r", "");
    let old = Job {
        began: server.now() - 24 * i64::try_from(HOUR.as_secs()).unwrap(),
        ..Job::new(&server, "o/r", "")
    };
    let wrong = Job {
        secret: "another secret",
        ..Job::new(&server, "o/r", "")
    };
    let path = "cache?keys=key&version=v";
    let altered = job.request(Method::GET, path);
    let altered = altered.header("Forgejo-Cache-WriteIsolationKey", PULL);
    // A good token beside it does not help.
    let good = server.token(&[("default", Permission::READ)]);
    let with_token = Job {
        token: &good,
        ..wrong
    };
    let mut reasons = Vec::new();
    for request in [
        wrong.request(Method::GET, path),
        altered,
        with_token.request(Method::GET, path),
        old.request(Method::GET, path),
    ] {
        let refused = request.send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        reasons.push(body(refused).await["message"].as_str().unwrap().to_owned());
    }
    assert!(reasons[0].contains("--forgejo-secret-file"), "{reasons:?}");
    assert!(reasons[3].contains("more than a day ago"), "{reasons:?}");

    let audit = fs::read_to_string(dir.path().join("audit")).unwrap();
    let events: Vec<Value> = (audit.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let logged: Vec<_> = events.iter().map(|event| &event["reason"]).collect();
    assert_eq!(logged, reasons.iter().collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["event"] == "token_refused"));
    let metrics = server.get(&format!("{}/metrics", server.url)).await;
    let metrics = metrics.text().await.unwrap();
    for (reason, count) in [("signature", 3), ("expired", 1)] {
        let line =
            format!("buildkit_gha_service_refused_tokens_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn without_the_secret_the_headers_mean_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.main().save("key", b"content").await;
    let job = Job::new(&server, "local/cache", "");
    let path = "cache?keys=key&version=v";
    let refused = job.send(Method::GET, path).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let by_token = server
        .main()
        .request(Method::GET, &format!("/_apis/artifactcache/{path}"))
        .header("Forgejo-Cache-Host", "http://evil.example")
        .header("Forgejo-Cache-RunId", "1");
    let found = body(by_token.send().await.unwrap()).await;
    let url = found["archiveLocation"].as_str().unwrap();
    assert!(url.starts_with(&server.url), "{url}");
}
