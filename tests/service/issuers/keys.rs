//! Where keys come from, and how long they are good.

use std::time::Duration;

use buildkit_gha::service::{Config, config::TrustedIssuer};
use reqwest::{Method, StatusCode, header::RETRY_AFTER};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    asked, claims, claims_at, is_good, is_refused, issuer::Issuer, looked_up, serve, signer::Key,
};
use crate::harness::{HOUR, Server};

/// Longer than the service waits between two fetches.
const A_WHILE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_new_key_is_good_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Key::rsa("old"), Key::ec("new"));
    let issuer = Issuer::start(&[&old]).await;
    let server = serve(dir.path(), &[&issuer.url]).await;
    let claims = claims(&server, &issuer);
    is_good(&server, &old.sign(&claims)).await;
    server.advance(A_WHILE);
    issuer.publish(&[&old, &new]);
    is_good(&server, &new.sign(&claims)).await;
    is_good(&server, &old.sign(&claims)).await;
    assert_eq!(issuer.fetches(), 2);
    // What is taken back is good until the keys are fetched again.
    issuer.publish(&[&new]);
    server.advance(A_WHILE);
    is_refused(&server, &Key::rsa("junk").sign(&claims), "not signed").await;
    is_refused(&server, &old.sign(&claims), "not signed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_with_names_of_no_keys_do_not_hammer_the_issuer() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(dir.path(), &[&issuer.url]).await;
    let claims = claims(&server, &issuer);
    is_good(&server, &key.sign(&claims)).await;
    for fetches in [1, 2] {
        let mut asking = JoinSet::new();
        for junk in 0..20 {
            let junk = key.sign_with(
                &json!({"alg": "RS256", "kid": format!("junk {junk}")}),
                &claims,
            );
            let path = format!("{}/_apis/artifactcache/cache?keys=k&version=v", server.url);
            let request = server.plain(Method::GET, &path).bearer_auth(junk);
            asking.spawn(async move { request.send().await.unwrap().status() });
        }
        let answers = asking.join_all().await;
        let refused = answers
            .iter()
            .filter(|status| **status == StatusCode::UNAUTHORIZED);
        assert_eq!(refused.count(), 20);
        assert_eq!(issuer.fetches(), fetches);
        server.advance(A_WHILE);
    }
}

/// 503, and when to ask again.
async fn is_unavailable(server: &Server, token: &str) {
    let response = looked_up(server, token).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "5");
    let words = response.text().await.unwrap();
    assert!(words.contains("keys of the token's issuer"), "{words}");
}

#[tokio::test]
async fn without_keys_nobody_is_told_that_their_token_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}");
    let server = serve(dir.path(), &[&url]).await;
    let token = key.sign(&claims_at(server.now(), &url));
    is_unavailable(&server, &token).await;
    let message = json!({"key": "key", "version": "v"});
    let client = server.client(token.clone());
    let created = client.twirp("CreateCacheEntry", message).await;
    assert_eq!(created.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(created.headers()[RETRY_AFTER], "5");
    // Own tokens need nobody.
    server.main().save("key", b"content").await;
    let listener = TcpListener::bind(address).await.unwrap();
    let _issuer = Issuer::on(listener, &[&key]);
    server.advance(A_WHILE);
    is_good(&server, &token).await;
}

#[tokio::test]
async fn keys_outlive_their_issuer_for_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let (key, new) = (Key::rsa("key"), Key::rsa("new"));
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(dir.path(), &[&issuer.url]).await;
    let claims = claims(&server, &issuer);
    is_good(&server, &key.sign(&claims)).await;
    issuer.set_away(true);
    server.advance(23 * HOUR);
    is_good(&server, &key.sign(&claims)).await;
    // It may be a new key, which nobody can say now.
    is_unavailable(&server, &new.sign(&claims)).await;
    is_good(&server, &key.sign(&claims)).await;
    server.advance(HOUR);
    is_unavailable(&server, &key.sign(&claims)).await;
    issuer.set_away(false);
    server.advance(A_WHILE);
    is_good(&server, &key.sign(&claims)).await;
}

#[tokio::test]
async fn keys_are_where_the_issuer_or_the_operator_says() {
    let key = Key::rsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let good = async |keys: Option<String>| {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path());
        config.trusted_issuers = vec![TrustedIssuer {
            keys: keys.map(|url| url.parse().unwrap()),
            ..issuer.trusted()
        }];
        let server = Server::start_with(config).await;
        let (status, _) = asked(&server, &key.sign(&claims(&server, &issuer))).await;
        status == StatusCode::NO_CONTENT
    };
    issuer.point_to(&format!("{}/elsewhere", issuer.url));
    assert!(good(None).await);
    // A document that names what cannot be trusted counts as none.
    issuer.point_to("http://keys.example/");
    assert!(good(None).await);
    assert!(good(Some(format!("{}/elsewhere", issuer.url))).await);
    for wrong in ["nowhere", "moved"] {
        assert!(
            !good(Some(format!("{}/{wrong}", issuer.url))).await,
            "{wrong}"
        );
    }
    issuer.publish_also(json!("x".repeat(200 << 10)));
    assert!(good(None).await);
    issuer.publish_also(json!("x".repeat(100 << 10)));
    assert!(!good(None).await, "such a document may have no end");
}
