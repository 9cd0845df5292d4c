//! What is found, in which scope, and who wins.

use buildkit_gha::{protocol::scope::Permission, service::config::DEFAULT_RESERVATION_AGE};
use reqwest::StatusCode;

use crate::harness::{HOUR, MAIN, Server};

const FEATURE: &str = "refs/heads/feature";

#[tokio::test]
async fn exact_comes_before_prefix_and_newest_before_older() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    for key in ["index#2", "index#10", "index#1", "index", "other"] {
        client.save(key, b"x").await;
    }
    let found = async |keys| client.found_key(keys).await;
    assert_eq!(found("index").await.as_deref(), Some("index"));
    assert_eq!(found("index#").await.as_deref(), Some("index#1"));
    assert_eq!(found("index#1").await.as_deref(), Some("index#1"));
    assert_eq!(found("miss,oth,index").await.as_deref(), Some("other"));
    assert_eq!(found("index##").await, None);
    assert_eq!(found("NDEX").await, None);
    assert_eq!(found("in%").await, None);
}

#[tokio::test]
async fn the_own_branch_comes_first_with_all_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.main().save("exact", b"main").await;
    let branch = server.token(&[(FEATURE, Permission::READ_WRITE), (MAIN, Permission::READ)]);
    let branch = server.client(branch);
    assert_eq!(branch.found_key("exact").await.as_deref(), Some("exact"));
    branch.save("fallback-1", b"feature").await;
    let found = branch.found_key("exact,fallback").await;
    assert_eq!(found.as_deref(), Some("fallback-1"));
    // The default branch does not see what a feature branch wrote.
    assert_eq!(server.main().found_key("fallback").await, None);
}

#[tokio::test]
async fn writes_go_to_the_first_writable_scope() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let token = server.token(&[
        ("refs/heads/base", Permission::READ),
        (FEATURE, Permission::READ_WRITE),
        (MAIN, Permission::READ_WRITE),
    ]);
    server.client(token).save("key", b"x").await;
    let reader = |scope| server.client(server.token(&[(scope, Permission::READ)]));
    assert_eq!(
        reader(FEATURE).found_key("key").await.as_deref(),
        Some("key")
    );
    assert_eq!(reader(MAIN).found_key("key").await, None);
    let other = server.token_of("other/repo", &[(FEATURE, Permission::READ)]);
    assert_eq!(server.client(other).found_key("key").await, None);
    let writer = server.token(&[(FEATURE, Permission::WRITE)]);
    assert_eq!(server.client(writer).found_key("key").await, None);
}

#[tokio::test]
async fn keys_have_limits() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let longest = "é".repeat(512);
    client.save(&longest, b"x").await;
    assert_eq!(client.found_key(&longest).await, Some(longest));
    for key in ["k".repeat(513), String::new(), "a,b".to_owned()] {
        let refused = client.reserve(&key).await.status();
        assert_eq!(refused, StatusCode::BAD_REQUEST, "{}", key.len());
    }
    for keys in ["k".repeat(513), String::new(), ["k"; 12].join(",")] {
        let refused = client.lookup(&keys).await.status();
        assert_eq!(refused, StatusCode::BAD_REQUEST, "{}", keys.len());
    }
}

#[tokio::test]
async fn expired_and_forged_tokens_open_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let other_dir = tempfile::tempdir().unwrap();
    let other = Server::start(other_dir.path()).await;
    let scopes = [(MAIN, Permission::READ_WRITE)];
    let token = server.token(&scopes);
    let (rest, _) = token.rsplit_once('.').unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", rest.split_once('.').unwrap().1);
    for forged in [
        other.token(&scopes),
        format!("{rest}.AAAA"),
        unsigned,
        "x".into(),
    ] {
        let status = server.client(forged).lookup("key").await.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let client = server.client(token);
    assert_eq!(client.lookup("key").await.status(), StatusCode::NO_CONTENT);
    server.advance(6 * HOUR);
    assert_eq!(
        client.lookup("key").await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn of_many_who_reserve_at_once_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let attempts = (0..16).map(|_| client.reserve("key"));
    let answers = futures_util::future::join_all(attempts).await;
    let count = |status| answers.iter().filter(|a| a.status() == status).count();
    assert_eq!(count(StatusCode::CREATED), 1);
    assert_eq!(count(StatusCode::CONFLICT), 15);
}

#[tokio::test]
async fn an_abandoned_reservation_keeps_its_key_until_it_was_silent_for_its_age() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    let age = DEFAULT_RESERVATION_AGE;
    let id = client.reserved("key").await;
    server.advance(age / 2);
    client.patch(id, "bytes 0-0/*", "x").await;
    server.advance(age / 2 + age / 4);
    server.service.collect().await.unwrap();
    let client = server.main();
    assert_eq!(client.reserve("key").await.status(), StatusCode::CONFLICT);
    server.advance(age / 2);
    server.service.collect().await.unwrap();
    let client = server.main();
    assert_eq!(client.commit(id, 1).await, StatusCode::NOT_FOUND);
    client.save("key", b"second").await;
    assert_eq!(
        std::fs::read_dir(dir.path().join("uploads"))
            .unwrap()
            .count(),
        0
    );
}

/// Whoever has a URL needs no token; so the URL ends with the token that it was asked for with.
#[tokio::test]
async fn a_signed_url_does_not_outlive_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.main().save("key", b"content").await;
    let client = server.main();
    // Tokens of these tests live six hours, URLs one.
    server.advance(HOUR * 11 / 2);
    let (_, read) = client.found("key").await.unwrap();
    let write = client.create("other").await;
    assert_eq!(server.get(&read).await.status(), StatusCode::OK);
    server.advance(HOUR / 2);
    assert_eq!(server.get(&read).await.status(), StatusCode::FORBIDDEN);
    let written = server.put(&write, "", "content").await;
    assert_eq!(written.status(), StatusCode::FORBIDDEN);
}

#[test]
fn no_token_lives_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let token = |ttl: &str| {
        let token = std::process::Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
            .args(["token", "--scope", "main=rw", "--ttl", ttl, "--data-dir"])
            .arg(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8(token.stderr).unwrap();
        (token.status.code(), said)
    };
    assert_eq!(token("366d").0, Some(0));
    let (code, said) = token("36500d");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("at most 366 days"), "{said}");
}
