//! Tokens of several scopes, and of scopes that they cannot read.

use std::time::Duration;

use buildkit_gha::cache::Outcome;

use crate::bed::{Bed, Build, Speaks, layer};

/// Reservations, of whichever version.
fn reserved(bed: &Bed) -> usize {
    let commits = bed.way.count(&format!("{V1}/"));
    bed.way.count(V1) - commits + bed.way.count(CREATE)
}

const V1: &str = "POST /_apis/artifactcache/caches";

const CREATE: &str = "POST /twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry";

fn build() -> Build {
    Build::chain([layer(1, 300 << 10), layer(2, 9 << 20), layer(3, 100)])
}

/// A pull request's first export: its own scope is empty.
async fn a_pull_request_uploads_nothing(speaks: Speaks, scope: &str) {
    let mut bed = Bed::new(speaks).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    let before = reserved(&bed);
    let outcome = build.export(&bed.export_as(scope, &bed.pull)).await;
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
    assert_eq!(reserved(&bed), before + 1, "the index and nothing else");

    // What is new is stored.
    let more = Build::chain(build.layers.iter().cloned().chain([layer(4, 10)]));
    bed.restart();
    let outcome = more.export(&bed.export_as(scope, &bed.pull)).await;
    assert!(matches!(outcome, Outcome::Written { layers: 4, .. }));
    assert_eq!(reserved(&bed), before + 3, "a layer and an index");
    assert!(bed.said.warnings().is_empty(), "{:?}", bed.said.warnings());
}

#[tokio::test]
async fn a_pull_request_uploads_nothing_that_the_branch_has_over_v1() {
    a_pull_request_uploads_nothing(Speaks::V1, "a").await;
}

/// No index that the export can read names the layers here.
#[tokio::test]
async fn a_pull_request_uploads_nothing_that_another_cache_of_the_branch_has() {
    a_pull_request_uploads_nothing(Speaks::V2, "other").await;
}

/// Nothing can be looked up, so nothing is waited for and nothing is stored twice.
async fn a_write_only_token_stores_once(speaks: Speaks) {
    let mut bed = Bed::with(speaks, |settings| {
        settings.unfinished_grace = Duration::from_hours(1);
    })
    .await;
    let build = build();
    let mut keys = Vec::new();
    for round in 0..2 {
        bed.restart();
        let before = reserved(&bed);
        let outcome = build.export(&bed.export_as("a", &bed.writing)).await;
        let Outcome::Written {
            key, left_out: 0, ..
        } = outcome
        else {
            panic!("{outcome:?}")
        };
        assert!(reserved(&bed) <= before + 5, "round {round}");
        keys.push(key);
    }
    for at in 0..3 {
        let keys = buildkit_gha::protocol::key::BlobKey::new(build.digest(at));
        assert!(bed.has(&keys.entry(0)).await && !bed.has(&keys.entry(1)).await);
    }
    assert_eq!(bed.index("a").await.unwrap().0, keys[1]);
    // Who can read goes on from there.
    build.export(&bed.export("a")).await;
    assert_eq!(bed.index("a").await.unwrap().0, keys[1], "nothing changed");
    assert!(bed.said.warnings().is_empty(), "{:?}", bed.said.warnings());
}

#[tokio::test]
async fn a_write_only_token_stores_each_layer_once_over_v1() {
    a_write_only_token_stores_once(Speaks::V1).await;
}

#[tokio::test]
async fn a_write_only_token_stores_each_layer_once_over_v2() {
    a_write_only_token_stores_once(Speaks::V2).await;
}
