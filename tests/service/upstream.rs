//! What is not the cache, on its way to a results service behind the service: a stand-in here.

use std::{convert::Infallible, iter, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use buildkit_gha::service::{Config, config::UpstreamUrl};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use reqwest::Method;
use tokio::net::TcpListener;

use crate::harness::Server;

const LIST: &str = "/twirp/github.actions.results.api.v1.ArtifactService/ListArtifacts";
const MIB: usize = 1 << 20;

/// What came to the stand-in.
pub struct Seen {
    method: Method,
    pub target: String,
    headers: HeaderMap,
    bytes: usize,
}

pub type Requests = Arc<Mutex<Vec<Seen>>>;

/// Counts what it gets and answers with as many bytes.
async fn answer(State(requests): State<Requests>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut pieces = body.into_data_stream();
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        bytes += piece.unwrap().len();
    }
    requests.lock().push(Seen {
        method: head.method,
        target: head.uri.to_string(),
        headers: head.headers,
        bytes,
    });
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    let pieces = bytes / piece.len();
    let pieces = stream::iter(iter::repeat_n(Ok::<_, Infallible>(piece), pieces));
    let headers = [("x-own", "1"), ("connection", "x-hop"), ("x-hop", "1")];
    (StatusCode::IM_A_TEAPOT, headers, Body::from_stream(pieces)).into_response()
}

/// A stand-in, and where it listens.
pub async fn stand_in() -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&requests));
    // It ends with the runtime of the test.
    #[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, requests)
}

async fn in_front_of(upstream: &str) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(Config {
        upstream_results: Some(UpstreamUrl::parse(upstream).unwrap()),
        ..Config::new(dir.path())
    })
    .await;
    (dir, server)
}

#[tokio::test]
async fn what_is_not_the_cache_goes_on_as_it_came() {
    let (url, requests) = stand_in().await;
    let (_dir, server) = in_front_of(&url).await;
    let piece = Bytes::from(vec![b'y'; MIB]);
    let pieces = stream::iter(iter::repeat_n(Ok::<_, Infallible>(piece), 20));
    let request = server
        .plain(Method::POST, &format!("{}{LIST}?a=b%20c", server.url))
        .header(header::AUTHORIZATION, "Bearer of-the-job")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "x-hop")
        .header("x-hop", "1")
        .body(reqwest::Body::wrap_stream(pieces));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 418);
    assert_eq!(answer.headers()["x-own"], "1");
    assert!(!answer.headers().contains_key("x-hop"));
    assert_eq!(answer.bytes().await.unwrap().len(), 20 * MIB);
    let plain = server.get(&format!("{}/something/else", server.url)).await;
    assert_eq!(plain.status().as_u16(), 418);

    let seen = requests.lock();
    assert_eq!(seen[0].method, Method::POST);
    assert_eq!(seen[0].target, format!("{LIST}?a=b%20c"));
    assert_eq!(seen[0].bytes, 20 * MIB);
    assert_eq!(seen[0].headers["authorization"], "Bearer of-the-job");
    assert_eq!(seen[0].headers["content-type"], "application/json");
    assert_eq!(seen[0].headers["host"], url.trim_start_matches("http://"));
    assert!(!seen[0].headers.contains_key("x-hop"));
    assert_eq!(seen[1].target, "/something/else");
    assert!(!seen[1].headers.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn the_cache_stays_here() {
    let (url, requests) = stand_in().await;
    let (_dir, server) = in_front_of(&url).await;
    server.main().save("key", b"content").await;
    let found = server.main().found("key").await.unwrap();
    assert_eq!(server.get(&found.1).await.bytes().await.unwrap(), "content");
    for path in [
        "/twirp/github.actions.results.api.v1.CacheService/Unknown",
        "/_apis/artifactcache/unknown",
        "/repos/o/r/actions/unknown",
        "/healthz",
    ] {
        let answer = server.get(&format!("{}{path}", server.url)).await;
        assert_ne!(answer.status().as_u16(), 418, "{path}");
    }
    assert!(requests.lock().is_empty());
}

#[tokio::test]
async fn an_upstream_that_is_away_is_said_to_be() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (_dir, server) = in_front_of(&url).await;
    let request = server.plain(Method::POST, &format!("{}{LIST}", server.url));
    let answer = request.body("{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    let said: serde_json::Value = answer.json().await.unwrap();
    let said = said["msg"].as_str().unwrap();
    assert!(
        said.contains(&url) && said.contains("does not answer"),
        "{said}"
    );
    // The cache is none the worse for it.
    server.main().save("key", b"content").await;
}

#[tokio::test]
async fn without_an_upstream_it_is_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let request = server.plain(Method::POST, &format!("{}{LIST}", server.url));
    let answer = request.body("{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

/// Two services that send on to each other: what nobody can see at the start.
#[tokio::test]
async fn a_request_that_comes_back_goes_no_farther() {
    let (url, requests) = stand_in().await;
    let (_dir, last) = in_front_of(&url).await;
    let (_other, first) = in_front_of(&last.url).await;
    let request = first.plain(Method::POST, &format!("{}{LIST}", first.url));
    let answer = request.body("{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::LOOP_DETECTED);
    assert!(requests.lock().is_empty());
}
