//! The audit log: who deleted what, and who was refused.

use std::{fs, path::Path};

use buildkit_gha::{
    protocol::scope::Permission,
    service::{
        Config, Role,
        config::{AuditTarget, Limit},
    },
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{MAIN, Server};

fn config(dir: &Path) -> Config {
    Config {
        audit_log: Some(AuditTarget::File(dir.join("audit"))),
        ..Config::new(dir.join("data"))
    }
}

/// The events so far, without what differs from run to run.
fn events(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("audit")).unwrap();
    let event = |line: &str| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        let fields = event.as_object_mut().unwrap();
        assert!(fields.remove("time").is_some(), "{line}");
        fields.remove("token_id");
        event
    };
    text.lines().map(event).collect()
}

async fn send(server: &Server, token: &str, method: Method, path: &str) -> StatusCode {
    let client = server.client(token.to_owned());
    let answer = client.request(method, path).send().await.unwrap();
    answer.status()
}

#[tokio::test]
async fn a_deletion_says_who_and_what() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(config(dir.path())).await;
    server.main().save("key", b"content").await;
    let pruner = server.administrator(Role::Prune, None);
    let path = "/repos/local/cache/actions/caches?key=key";
    let deleted = pruner.request(Method::DELETE, path).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::OK);
    let expected = json!({
        "event": "entry_deleted",
        "client": "127.0.0.1",
        "token": "prune:all@2027-01-15T08:00:00Z",
        "repository": "local/cache",
        "scope": MAIN,
        "key": "key",
        "size": 7,
    });
    assert_eq!(events(dir.path()), [expected]);
}

#[tokio::test]
async fn refusals_say_who_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(config(dir.path())).await;
    let reader = server.token(&[(MAIN, Permission::READ)]);
    let caches = "/repos/local/cache/actions/caches";
    let elsewhere = "/repos/o/r/actions/caches";
    for (token, method, path, status) in [
        ("x.y.z", Method::GET, caches, StatusCode::UNAUTHORIZED),
        (&reader, Method::GET, elsewhere, StatusCode::NOT_FOUND),
        (
            &reader,
            Method::DELETE,
            &format!("{caches}?key=k&ref={MAIN}"),
            StatusCode::FORBIDDEN,
        ),
    ] {
        assert_eq!(send(&server, token, method, path).await, status, "{path}");
    }
    let events = events(dir.path());
    let field = |at: usize, name: &str| events[at][name].as_str().unwrap().to_owned();
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(field(0, "event"), "token_refused");
    assert!(field(0, "reason").contains("was not issued by this service"));
    assert_eq!(events[0].get("token"), None);
    for at in [1, 2] {
        assert_eq!(field(at, "event"), "access_denied");
        assert_eq!(field(at, "client"), "127.0.0.1");
        assert_eq!(field(at, "token"), "local/cache@2027-01-15T08:00:00Z");
    }
    assert!(field(1, "reason").contains("not for the repository o/r"));
    assert!(field(2, "reason").contains("REF=rwd"));
    assert_eq!(
        (field(2, "key"), field(2, "scope")),
        ("k".into(), MAIN.into())
    );
}

#[tokio::test]
async fn evictions_are_summed_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.budgets.repository = Limit {
        bytes: None,
        entries: Some(2),
    };
    let server = Server::start_with(config).await;
    for key in ["a", "b", "c"] {
        server.main().save(key, b"content").await;
    }
    server.service.collect().await.unwrap();
    let evicted = events(dir.path());
    let entries = evicted
        .iter()
        .map(|event| event["entries"].as_u64().unwrap());
    let entries: u64 = entries.sum();
    assert_eq!(evicted[0]["event"], "entries_evicted");
    assert_eq!(entries, 2, "90% of two is one: {evicted:?}");
}
