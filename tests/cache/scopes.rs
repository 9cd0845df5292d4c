//! Tokens of several scopes, and of scopes that they cannot read.

use std::time::Duration;

use buildkit_gha::cache::Outcome;

use crate::fixture::{ApiVersion, Build, Fixture, layer};

/// Reservations, of whichever version.
fn reserved(fixture: &Fixture) -> usize {
    let commits = fixture.proxy.count(&format!("{V1}/"));
    fixture.proxy.count(V1) - commits + fixture.proxy.count(CREATE)
}

const V1: &str = "POST /_apis/artifactcache/caches";

const CREATE: &str = "POST /twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry";

fn build() -> Build {
    Build::chain([layer(1, 300 << 10), layer(2, 9 << 20), layer(3, 100)])
}

/// A pull request's first export: its own scope is empty.
async fn a_pull_request_uploads_nothing(api_version: ApiVersion, scope: &str) {
    let mut fixture = Fixture::new(api_version).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let before = reserved(&fixture);
    let outcome = build.export(&fixture.export_as(scope, &fixture.pull)).await;
    assert!(
        matches!(
            outcome,
            Outcome::Written {
                layers: 3,
                left_out: 0,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(reserved(&fixture), before + 1, "the index and nothing else");

    // What is new is stored.
    let more = Build::chain(build.layers.iter().cloned().chain([layer(4, 10)]));
    fixture.restart();
    let outcome = more.export(&fixture.export_as(scope, &fixture.pull)).await;
    assert!(matches!(outcome, Outcome::Written { layers: 4, .. }));
    assert_eq!(reserved(&fixture), before + 3, "a layer and an index");
    assert!(
        fixture.messages.warnings().is_empty(),
        "{:?}",
        fixture.messages.warnings()
    );
}

#[tokio::test]
async fn a_pull_request_uploads_nothing_that_the_branch_has_over_v1() {
    a_pull_request_uploads_nothing(ApiVersion::V1, "a").await;
}

/// No index that the export can read names the layers here.
#[tokio::test]
async fn a_pull_request_uploads_nothing_that_another_cache_of_the_branch_has() {
    a_pull_request_uploads_nothing(ApiVersion::V2, "other").await;
}

/// Nothing can be looked up, so nothing is waited for and nothing is stored twice.
async fn a_write_only_token_stores_once(api_version: ApiVersion) {
    let mut fixture = Fixture::with(api_version, |settings| {
        settings.unfinished_grace = Duration::from_hours(1);
    })
    .await;
    let build = build();
    let mut keys = Vec::new();
    for round in 0..2 {
        fixture.restart();
        let before = reserved(&fixture);
        let outcome = build
            .export(&fixture.export_as("a", &fixture.writing))
            .await;
        let Outcome::Written {
            key, left_out: 0, ..
        } = outcome
        else {
            panic!("{outcome:?}")
        };
        assert!(reserved(&fixture) <= before + 5, "round {round}");
        keys.push(key);
    }
    for at in 0..3 {
        let keys = buildkit_gha::protocol::key::BlobKey::new(build.digest(at));
        assert!(fixture.has(&keys.entry(0)).await && !fixture.has(&keys.entry(1)).await);
    }
    assert_eq!(fixture.index("a").await.unwrap().0, keys[1]);
    // Who can read goes on from there.
    build.export(&fixture.export("a")).await;
    assert_eq!(
        fixture.index("a").await.unwrap().0,
        keys[1],
        "nothing changed"
    );
    assert!(
        fixture.messages.warnings().is_empty(),
        "{:?}",
        fixture.messages.warnings()
    );
}

#[tokio::test]
async fn a_write_only_token_stores_each_layer_once_over_v1() {
    a_write_only_token_stores_once(ApiVersion::V1).await;
}

#[tokio::test]
async fn a_write_only_token_stores_each_layer_once_over_v2() {
    a_write_only_token_stores_once(ApiVersion::V2).await;
}
