//! What a token that is good allows.

use buildkit_gha::service::Config;
use reqwest::StatusCode;

use super::{
    READ, READ_WRITE, asked, claims, is_good, issuer::Issuer, scopes, serve, signer::Key, with,
};
use crate::harness::{MAIN, Server, body};

const PULL: &str = "refs/pull/7/merge";

#[tokio::test]
async fn repositories_know_nothing_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let (issuer, other) = (Issuer::start(&[&key]).await, Issuer::start(&[&key]).await);
    let server = serve(dir.path(), &[&issuer.url, &other.url]).await;
    let client = |issuer: &Issuer, repository: &str| {
        let claims = with(claims(&server, issuer), "repository_id", repository);
        server.client(key.sign(&claims))
    };
    client(&issuer, "1").save("key", b"one").await;
    client(&issuer, "2").save("key", b"two").await;
    // The same number means another repository there.
    client(&other, "1").save("key", b"three").await;
    server.main().save("key", b"four").await;
    for (client, content) in [
        (client(&issuer, "1"), "one"),
        (client(&issuer, "2"), "two"),
        (client(&other, "1"), "three"),
        (server.main(), "four"),
    ] {
        let (_, url) = client.found("key").await.unwrap();
        assert_eq!(server.get(&url).await.text().await.unwrap(), content);
    }
    assert_eq!(client(&issuer, "3").found_key("key").await, None);
}

#[tokio::test]
async fn only_repositories_that_are_named_are_welcome() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let mut config = Config::new(dir.path());
    config.trusted_issuers = vec![issuer.trusted()];
    config.trusted_repositories = vec!["1".parse().unwrap()];
    let server = Server::start_with(config).await;
    let token = |repository: &str| {
        let claims = with(claims(&server, &issuer), "repository_id", repository);
        key.sign(&claims)
    };
    is_good(&server, &token("1")).await;
    let (status, words) = asked(&server, &token("2")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(words.contains("/2 may not use this service"), "{words}");
    // Those who have the service's secret are.
    server.main().save("key", b"x").await;
}

#[tokio::test]
async fn a_pull_request_keeps_to_its_scope() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(dir.path(), &[&issuer.url]).await;
    let client = |granted: &[(&str, i64)]| {
        let claims = with(claims(&server, &issuer), "ac", scopes(granted));
        server.client(key.sign(&claims))
    };
    let main = client(&[(MAIN, READ_WRITE)]);
    let pull = client(&[(PULL, READ_WRITE), (MAIN, READ)]);
    main.save("base", b"x").await;
    pull.save("own", b"x").await;
    assert!(pull.found_key("base").await.is_some());
    assert!(pull.found_key("own").await.is_some());
    assert_eq!(main.found_key("own").await, None);
}

#[tokio::test]
async fn a_token_that_may_only_read_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(dir.path(), &[&issuer.url]).await;
    let client = |granted: &[(&str, i64)]| {
        let claims = with(claims(&server, &issuer), "ac", scopes(granted));
        server.client(key.sign(&claims))
    };
    client(&[(MAIN, READ_WRITE)]).save("key", b"x").await;
    let reader = client(&[(MAIN, READ)]);
    assert!(reader.found_key("key").await.is_some());
    let refused = reader.reserve("new").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let words = body(refused).await["message"].to_string();
    assert!(words.contains("cache write denied"), "{words}");
    // `cache-mode: none`
    let nobody = client(&[]);
    assert_eq!(nobody.found_key("key").await, None);
    assert_eq!(nobody.reserve("new").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn nobody_deletes_with_a_token_of_a_job() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(dir.path(), &[&issuer.url]).await;
    let all = scopes(&[(MAIN, 255)]);
    let client = server.client(key.sign(&with(claims(&server, &issuer), "ac", all)));
    client.save("key", b"x").await;
    let owner = issuer.url.replace("http://", "").replace(':', "_");
    let path = format!("/repos/{owner}/1/actions/caches?key=key");
    let deleted = client.request(reqwest::Method::DELETE, &path).send().await;
    assert_eq!(deleted.unwrap().status(), StatusCode::FORBIDDEN);
    assert!(client.found_key("key").await.is_some());
}
