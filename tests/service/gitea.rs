//! Jobs of Gitea, as its runner tells of them.

use std::{fs, path::Path};

use buildkit_gha::{
    protocol::scope::Permission,
    secret::Secret,
    service::{Config, config::AuditTarget},
};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    harness::{HOUR, MAIN, Server, body},
    tokens::{list, said},
};

const SECRET: &str = "shared with the runners";

/// A job's token: a JWT without an issuer, as Gitea signs it.
const JOB: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJUYXNrSUQiOjF9.c2lnbmF0dXJl";

/// What older ones had.
const OLDER_JOB: &str = "0123456789abcdef0123456789abcdef01234567";

fn config(dir: &Path) -> Config {
    Config {
        gitea_secret: Some(Secret::new(SECRET)),
        audit_log: Some(AuditTarget::File(dir.join("audit"))),
        ..Config::new(dir.join("data"))
    }
}

/// What the runner posts.
async fn post(server: &Server, secret: &str, what: &str, message: Value) -> Response {
    let url = format!("{}/_internal/{what}", server.url);
    let request = server.plain(Method::POST, &url).bearer_auth(secret);
    request.json(&message).send().await.unwrap()
}

async fn register(server: &Server, token: &str, repository: &str) {
    let message = json!({
        "token": token,
        "repo": repository,
        "results": "https://gitea.example",
        "insecure_tls": false,
        "public_url": server.url,
    });
    let answer = post(server, SECRET, "register", message).await;
    assert_eq!(answer.status(), StatusCode::OK);
    // Artifacts stay with Gitea.
    assert_eq!(body(answer).await, json!({}));
}

async fn revoke(server: &Server, token: &str) {
    let answer = post(server, SECRET, "revoke", json!({ "token": token })).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_job_has_its_repositorys_cache_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(config(dir.path())).await;
    for token in [JOB, OLDER_JOB] {
        let job = server.client(token.to_owned());
        assert_eq!(job.lookup("key").await.status(), StatusCode::UNAUTHORIZED);
        register(&server, token, "o/r").await;
    }
    let (job, older) = (
        server.client(JOB.to_owned()),
        server.client(OLDER_JOB.to_owned()),
    );
    job.save("key", b"content").await;
    let (_, url) = older.found("key").await.unwrap();
    assert_eq!(server.get(&url).await.text().await.unwrap(), "content");
    register(&server, "another job", "o/other").await;
    let other = server.client("another job".to_owned());
    assert_eq!(other.found_key("key").await, None);

    revoke(&server, JOB).await;
    assert_eq!(job.lookup("key").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(older.found_key("key").await.as_deref(), Some("key"));
    // A runner that has died tells of no end.
    server.advance(24 * HOUR);
    assert_eq!(older.lookup("key").await.status(), StatusCode::UNAUTHORIZED);

    let audit = fs::read_to_string(dir.path().join("audit")).unwrap();
    assert!(audit.contains("revoked_token_used"), "{audit}");
    assert!(!audit.contains(JOB), "{audit}");
    for file in ["entries.db", "entries.db-wal"] {
        let stored = fs::read(dir.path().join("data").join(file)).unwrap();
        let stored = String::from_utf8_lossy(&stored);
        assert!(!stored.contains(OLDER_JOB), "a token is in {file}");
    }
}

#[tokio::test]
async fn who_has_not_the_secret_tells_of_no_job() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(config(dir.path())).await;
    let message = json!({"token": JOB, "repo": "o/r"});
    let own = server.token(&[(MAIN, Permission::READ_WRITE)]);
    for secret in ["another secret", JOB, &own] {
        for what in ["register", "revoke"] {
            let refused = post(&server, secret, what, message.clone()).await;
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
            let said = body(refused).await;
            let said = said["message"].as_str().unwrap();
            assert!(said.contains("--gitea-secret-file"), "{said}");
        }
    }
    // The secret is no token.
    let runner = server.client(SECRET.to_owned());
    assert_eq!(
        runner.lookup("key").await.status(),
        StatusCode::UNAUTHORIZED
    );
    for wrong in [
        json!({"token": "", "repo": "o/r"}),
        json!({"token": JOB, "repo": "r"}),
        json!({}),
    ] {
        let refused = post(&server, SECRET, "register", wrong).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    }
    let job = server.client(JOB.to_owned());
    assert_eq!(job.lookup("key").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_the_secret_nobody_tells_of_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let message = json!({"token": JOB, "repo": "o/r"});
    let refused = post(&server, SECRET, "register", message).await;
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    let job = server.client(JOB.to_owned());
    assert_eq!(job.lookup("key").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn jobs_are_not_in_the_list_of_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(config(dir.path())).await;
    register(&server, JOB, "o/r").await;
    let data = dir.path().join("data");
    let place = ["--data-dir", data.to_str().unwrap()];
    said(&place, &["--scope", "refs/heads/main=r", "--name", "ours"]);
    let names: Vec<_> = list(&place)
        .into_iter()
        .map(|token| token["name"].clone())
        .collect();
    assert_eq!(names, ["ours"]);
}
