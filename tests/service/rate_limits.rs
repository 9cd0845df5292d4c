//! Rate limits of repositories, as GitHub has them.

use std::{num::NonZeroU32, time::Duration};

use buildkit_gha::{
    protocol::scope::Permission,
    service::{Config, config::RateLimits},
};
use reqwest::{Response, StatusCode, header::RETRY_AFTER};
use serde_json::json;

use crate::harness::{MAIN, Server, VERSION, body};

async fn start(data_dir: &std::path::Path, reservations: u32, lookups: u32) -> Server {
    let rate_limits = RateLimits {
        reservations: NonZeroU32::new(reservations),
        lookups: NonZeroU32::new(lookups),
    };
    let config = Config {
        rate_limits,
        ..Config::new(data_dir)
    };
    Server::start_with(config).await
}

async fn assert_limited(response: Response, seconds: &str, what: &str) {
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()[RETRY_AFTER], seconds);
    let words = body(response).await.to_string();
    assert!(words.contains(what), "{words}");
}

#[tokio::test]
async fn a_repository_has_so_many_reservations_and_lookups_in_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), 2, 3).await;
    let caller = server.main();
    let entry = |key: &str| json!({"key": key, "version": VERSION});
    // Both versions together.
    caller.reserved("one").await;
    caller.create("two").await;
    server.advance(Duration::from_secs(20));
    let what = "2 reservations of this repository";
    assert_limited(caller.reserve("three").await, "40", what).await;
    let refused = caller.twirp("CreateCacheEntry", entry("three")).await;
    assert_limited(refused, "40", what).await;
    for _ in 0..3 {
        assert_eq!(caller.found_key("one").await, None);
    }
    let what = "3 lookups of this repository";
    assert_limited(caller.lookup("one").await, "60", what).await;
    let refused = caller.twirp("GetCacheEntryDownloadURL", entry("one")).await;
    assert_limited(refused, "60", what).await;
    // Another repository does not notice.
    let other = server.client(server.token_of("o/other", &[(MAIN, Permission::READ_WRITE)]));
    other.reserved("one").await;
    server.advance(Duration::from_secs(40));
    caller.reserved("three").await;
    server.stop().await;
}
