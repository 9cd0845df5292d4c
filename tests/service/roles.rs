//! Administrators: what they see and delete over REST, and that they open no cache.

use std::process::Command;

use buildkit_gha::{
    protocol::{key::version, scope::Permission},
    service::Role,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::{
    harness::{Caller, MAIN, Server, body},
    program::{Program, Remote},
    tokens::token,
};

const OTHER: &str = "refs/pull/7/merge";

async fn answer(client: &Caller<'_>, method: Method, path: &str) -> Response {
    client.request(method, path).send().await.unwrap()
}

fn caches(repository: &str, rest: &str) -> String {
    format!("/repos/{repository}/actions/caches{rest}")
}

async fn count(client: &Caller<'_>, repository: &str) -> u64 {
    let listed = answer(client, Method::GET, &caches(repository, "")).await;
    assert_eq!(listed.status(), StatusCode::OK);
    body(listed).await["total_count"].as_u64().unwrap()
}

async fn delete(client: &Caller<'_>, repository: &str, key: &str) -> StatusCode {
    let path = caches(repository, &format!("?key={key}"));
    answer(client, Method::DELETE, &path).await.status()
}

/// Entries `key` in two scopes of one repository and in one of another.
async fn fill(server: &Server) {
    for (repository, scope) in [("o/r", MAIN), ("o/r", OTHER), ("o/s", MAIN)] {
        let token = server.token_of(repository, &[(scope, Permission::READ_WRITE)]);
        server.client(token).save("key", b"content").await;
    }
}

#[tokio::test]
async fn an_administrator_sees_all_scopes_of_all_repositories() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    fill(&server).await;
    let reader = server.administrator(Role::Read, None);
    assert_eq!(count(&reader, "o/r").await, 2);
    assert_eq!(count(&reader, "o/s").await, 1);
    assert_eq!(count(&reader, "o/none").await, 0);
    let listed = answer(
        &reader,
        Method::GET,
        &caches("o/r", &format!("?ref={OTHER}")),
    )
    .await;
    let listed = body(listed).await;
    assert_eq!(listed["total_count"], 1);
    assert_eq!(listed["hidden_count"], 0);
    assert_eq!(listed["actions_caches"][0]["ref"], OTHER);

    let of_one = server.administrator(Role::Admin, Some("o/r"));
    assert_eq!(count(&of_one, "o/r").await, 2);
    for method in [Method::GET, Method::DELETE] {
        let elsewhere = answer(&of_one, method, &caches("o/s", "?key=key")).await;
        assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn only_a_role_that_may_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    fill(&server).await;
    let reader = server.administrator(Role::Read, None);
    let refused = answer(&reader, Method::DELETE, &caches("o/r", "?key=key")).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let words = body(refused).await["message"].to_string();
    assert!(words.contains("token --role prune"), "{words}");

    let pruner = server.administrator(Role::Prune, None);
    assert_eq!(delete(&pruner, "o/r", "key").await, StatusCode::OK);
    assert_eq!(count(&reader, "o/r").await, 0, "of both scopes");
    assert_eq!(count(&reader, "o/s").await, 1);
    let listed = answer(&reader, Method::GET, &caches("o/s", "")).await;
    let id = body(listed).await["actions_caches"][0]["id"].clone();
    let admin = server.administrator(Role::Admin, None);
    for (repository, status) in [
        ("o/r", StatusCode::NOT_FOUND),
        ("o/s", StatusCode::NO_CONTENT),
    ] {
        let path = caches(repository, &format!("/{id}"));
        let deleted = answer(&admin, Method::DELETE, &path).await;
        assert_eq!(deleted.status(), status, "it is an entry of o/s");
    }
}

#[tokio::test]
async fn an_administrator_opens_no_cache() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let admin = server.administrator(Role::Admin, Some("local/cache"));
    for answer in [
        admin.lookup("key").await,
        admin.reserve("key").await,
        admin.finalize("key", 1).await,
    ] {
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let words = answer.text().await.unwrap();
        assert!(words.contains("token --scope REF=rw"), "{words}");
    }
    let patched = admin.patch(1, "bytes 0-0/*", *b"x").await;
    assert_eq!(patched, StatusCode::FORBIDDEN);
}

/// The commands on a cache, with an administrator's token.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_list_and_prune_with_a_role() {
    const OLD: &str = "index-app-1-f921bd05#1";
    const NEW: &str = "index-app-1-f921bd05#2";
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let program = Program::start(&data_dir, &dir.path().join("log"));
    let remote = program.client(&data_dir);
    for key in [OLD, NEW] {
        // The commands look at what BuildKit has saved.
        let entry = json!({"key": key, "version": version()});
        let request = remote.request(Method::POST, "/_apis/artifactcache/caches");
        let reserved = Remote::send(request.json(&entry)).await.unwrap().json();
        let id = reserved["cacheId"].as_i64().unwrap();
        remote.patch(id, 0, b"no index").await.unwrap();
        remote.commit(id, 8).await.unwrap();
    }
    let place = ["--data-dir", data_dir.to_str().unwrap()];
    let minted = |role| token(&place, &["--role", role, "--name", role]).stdout;
    let run = |role, arguments: &[&str]| {
        let token = String::from_utf8(minted(role)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
            .env_clear()
            .env("BUILDKIT_GHA_TOKEN", token.trim_end())
            .args(arguments)
            .args(["--url", &program.url, "--repository", "local/cache"])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = run("read", &["ls"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(MAIN), "{said}");
    assert!(
        said.contains("an administrator's token lists entries"),
        "{said}"
    );
    let (code, said) = run("read", &["du"]);
    assert_eq!(code, Some(0), "{said}");
    let prune = ["prune", "--all", "--grace", "0s", "--force"];
    let (code, said) = run("read", &prune);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("needs the role prune"), "{said}");
    let (code, said) = run("prune", &prune);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(remote.list().await.unwrap(), [""; 0]);
}
