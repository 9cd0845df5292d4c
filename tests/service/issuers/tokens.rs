//! Which tokens are good.

use buildkit_gha::protocol::scope::Permission;
use serde_json::json;

use super::{claims, is_good, is_refused, issuer::Issuer, serve, signer::Key, with};
use crate::harness::{MAIN, Server};

const NOT_SIGNED: &str = "not signed with a key of its issuer";

#[tokio::test]
async fn what_the_issuer_has_signed_is_good_beside_the_services_own_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let (rsa, ec) = (Key::rsa("rsa"), Key::ec("ec"));
    let issuer = Issuer::start(&[&rsa, &ec]).await;
    let server = serve(dir.path(), &[&issuer.url]).await;
    let claims = claims(&server, &issuer);
    is_good(&server, &rsa.sign(&claims)).await;
    is_good(&server, &ec.sign(&claims)).await;
    let slash = format!("{}/", issuer.url);
    is_good(&server, &rsa.sign(&with(claims.clone(), "iss", slash))).await;
    is_good(&server, &server.token(&[(MAIN, Permission::READ)])).await;
    // In either API, and in REST, where the repository has the issuer's name and its own id.
    let client = server.client(rsa.sign(&claims));
    client.save("key", b"content").await;
    let message = json!({"key": "key", "restore_keys": [], "version": "v"});
    let found = client.twirp("GetCacheEntryDownloadURL", message).await;
    assert_eq!(found.status(), 200);
    let owner = issuer.url.replace("http://", "").replace(':', "_");
    for (id, status) in [(1, 200), (2, 404)] {
        let path = format!("/repos/{owner}/{id}/actions/caches");
        let list = client.request(reqwest::Method::GET, &path).send().await;
        assert_eq!(list.unwrap().status(), status);
    }
}

#[tokio::test]
async fn what_the_issuer_has_not_signed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (rsa, ec, stranger) = (Key::rsa("rsa"), Key::ec("ec"), Key::rsa("rsa"));
    let issuer = Issuer::start(&[&rsa, &ec]).await;
    let server = serve(dir.path(), &[&issuer.url]).await;
    let claims = claims(&server, &issuer);
    is_good(&server, &rsa.sign(&claims)).await;
    let mut critical = rsa.header();
    critical["crit"] = json!(["b64"]);
    let (good, other) = (
        rsa.sign(&claims),
        rsa.sign(&with(claims.clone(), "repository_id", "2")),
    );
    let (head, _) = good.split_once('.').unwrap();
    let (content, _) = other.rsplit_once('.').unwrap();
    let (_, content) = content.split_once('.').unwrap();
    let (_, signature) = good.rsplit_once('.').unwrap();
    for (what, token) in [
        ("another key of that name", stranger.sign(&claims)),
        ("no signature", rsa.unsigned("none", &claims)),
        ("an empty one", rsa.unsigned("RS256", &claims)),
        ("HMAC with the public key", rsa.forge_hmac(&claims)),
        ("HMAC with the public key of EC", ec.forge_hmac(&claims)),
        (
            "an algorithm that is not the key's",
            rsa.sign_with(&json!({"alg": "RS512", "kid": "rsa"}), &claims),
        ),
        (
            "a key of another kind",
            ec.sign_with(&json!({"alg": "ES256", "kid": "rsa"}), &claims),
        ),
        (
            "no name of a key where there are two",
            rsa.sign_with(&json!({"alg": "RS256"}), &claims),
        ),
        ("what must be understood", rsa.sign_with(&critical, &claims)),
        ("other content", format!("{head}.{content}.{signature}")),
    ] {
        println!("{what}");
        is_refused(&server, &token, NOT_SIGNED).await;
    }
}

#[tokio::test]
async fn another_issuer_and_another_time_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let (issuer, other) = (Issuer::start(&[&key]).await, Issuer::start(&[&key]).await);
    let server = serve(dir.path(), &[&issuer.url]).await;
    let (ours, now) = (claims(&server, &issuer), server.now());
    let foreign = key.sign(&claims(&server, &other));
    is_refused(&server, &foreign, "which this service does not trust").await;
    is_refused(&server, &foreign, &other.url).await;
    assert_eq!(other.fetches(), 0, "a token makes nobody be asked");
    // The issuer may not speak for the service itself.
    let own = key.sign(&with(ours.clone(), "iss", "buildkit-gha"));
    is_refused(&server, &own, "not issued by this service").await;
    for (claim, value, why) in [
        ("exp", now, "the token expired at"),
        ("nbf", now + 61, "the token is not valid before"),
    ] {
        is_refused(&server, &key.sign(&with(ours.clone(), claim, value)), why).await;
    }
    is_good(&server, &key.sign(&with(ours, "nbf", now + 60))).await;
}

#[tokio::test]
async fn a_token_that_says_too_little_is_told_what() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let server = serve(dir.path(), &[&issuer.url]).await;
    for claim in ["ac", "repository_id", "exp"] {
        let mut claims = claims(&server, &issuer);
        claims.as_object_mut().unwrap().remove(claim);
        is_refused(&server, &key.sign(&claims), claim).await;
    }
    let metrics = server.service.metrics().render();
    let expected = "buildkit_gha_service_refused_tokens_total{reason=\"claim\"} 3";
    assert!(metrics.contains(expected), "{metrics}");
}

#[tokio::test]
async fn nobody_is_trusted_unless_the_operator_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let server = Server::start(dir.path()).await;
    let token = key.sign(&claims(&server, &issuer));
    is_refused(&server, &token, "--trust-issuer").await;
    assert_eq!(issuer.fetches(), 0);
}
