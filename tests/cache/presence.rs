//! Layers that are there already are not asked of BuildKit, which may have to fetch them for it.

use std::time::Duration;

use buildkit_gha::{cache::Config, protocol::key};

use tokio::time::{Instant, timeout};

use crate::{
    fixture::{ApiVersion, Build, Fixture, SOON, layer, layer_ref, open},
    lossy::Fault,
};

/// Proofs that do not count any more when they are asked for.
fn forgetful(settings: &mut Config) {
    settings.proof_age = Duration::ZERO;
}

fn build() -> Build {
    Build::chain([layer(1, 9 << 20), layer(2, 300)])
}

/// Which layers the export to this scope asks for.
async fn asked(fixture: &Fixture, build: &Build, scope: &str) -> Vec<usize> {
    let job = fixture.export(scope);
    let mut asked = Vec::new();
    for (at, layer) in build.layers.iter().enumerate() {
        let writer = open(&job, &layer_ref(layer), layer.len()).await.unwrap();
        asked.extend(writer.map(|_| at));
    }
    asked
}

#[tokio::test]
async fn what_an_index_names_and_a_lookup_finds_is_not_asked_for() {
    let mut fixture = Fixture::with(ApiVersion::V1, forgetful).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    assert_eq!(asked(&fixture, &build, "a").await, [0; 0]);
    // The index alone is no proof.
    let other = Build::chain([layer(3, 9 << 20)]);
    fixture
        .put(
            &crate::fixture::index_key("c").entry(1),
            other.index.to_json(),
        )
        .await;
    assert_eq!(asked(&fixture, &other, "c").await, [0]);
}

/// BuildKit asks for four layers at a time, and each answer takes a call or two.
#[tokio::test]
async fn once_one_layer_of_an_index_is_found_the_others_are_looked_up() {
    let mut fixture = Fixture::new(ApiVersion::V2).await;
    let build = Build::chain((0..10).map(|seed| layer(seed, 300 << 10)));
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let lookups = |fixture: &Fixture| {
        let method = "POST /twirp/github.actions.results.api.v1.CacheService/";
        fixture
            .proxy
            .count(&format!("{method}GetCacheEntryDownloadURL"))
    };
    let probes = |fixture: &Fixture| fixture.proxy.count("GET /blobs/");
    let job = fixture.export("a");
    let open = async |at: usize| {
        let layer = &build.layers[at];
        open(&job, &layer_ref(layer), layer.len()).await.unwrap()
    };
    assert!(open(0).await.is_none());
    // One for the index.
    let all = async {
        while probes(&fixture) < 10 + 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, all).await.expect("all ten are looked up");
    let before = lookups(&fixture);
    for at in 1..10 {
        assert!(open(at).await.is_none(), "{at}");
    }
    assert_eq!(lookups(&fixture), before, "each is looked up once");
}

#[tokio::test]
async fn what_was_promised_long_ago_is_looked_up_for_another_cache() {
    let mut fixture = Fixture::with(ApiVersion::V2, forgetful).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    assert_eq!(
        asked(&fixture, &build, "b").await,
        [0, 1],
        "nobody knows of them"
    );
    let job = fixture.import("a").await;
    for at in 0..2 {
        job.confirm(build.digest(at)).await.unwrap();
    }
    assert_eq!(asked(&fixture, &build, "b").await, [0; 0]);
}

#[tokio::test]
async fn an_entry_of_another_size_is_asked_for() {
    let mut fixture = Fixture::with(ApiVersion::V2, forgetful).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    // A longer entry stands in the place of the second layer.
    let keys = key::BlobKey::new(build.digest(1));
    fixture.put(&keys.entry(1), layer(9, 301)).await;
    fixture.restart();
    assert_eq!(asked(&fixture, &build, "a").await, [1]);
}

/// Other builds wait behind the answer.
#[tokio::test]
async fn a_lookup_that_hangs_holds_nobody_up() {
    let mut fixture = Fixture::with(ApiVersion::V2, forgetful).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let digest = build.digest(0).to_string();
    fixture
        .proxy
        .fail(&["GetCacheEntryDownloadURL", &digest], Fault::Hung);
    let begun = Instant::now();
    assert_eq!(asked(&fixture, &build, "a").await, [0]);
    assert!(begun.elapsed() < Duration::from_millis(2900), "one attempt");
}
