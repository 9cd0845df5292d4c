//! Layers that are there already are not asked of BuildKit, which may have to fetch them for it.

use std::time::Duration;

use buildkit_gha::{cache::Config, protocol::key};

use tokio::time::{Instant, timeout};

use crate::{
    bed::{Bed, Build, SOON, Speaks, layer, layer_ref, open},
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
async fn asked(bed: &Bed, build: &Build, scope: &str) -> Vec<usize> {
    let job = bed.export(scope);
    let mut asked = Vec::new();
    for (at, layer) in build.layers.iter().enumerate() {
        let writer = open(&job, &layer_ref(layer), layer.len()).await.unwrap();
        asked.extend(writer.map(|_| at));
    }
    asked
}

#[tokio::test]
async fn what_an_index_names_and_a_lookup_finds_is_not_asked_for() {
    let mut bed = Bed::with(Speaks::V1, forgetful).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    assert_eq!(asked(&bed, &build, "a").await, [0; 0]);
    // The index alone is no proof.
    let other = Build::chain([layer(3, 9 << 20)]);
    bed.put(&crate::bed::index_key("c").entry(1), other.index.to_json())
        .await;
    assert_eq!(asked(&bed, &other, "c").await, [0]);
}

/// BuildKit asks for four layers at a time, and each answer takes a call or two.
#[tokio::test]
async fn once_one_layer_of_an_index_is_found_the_others_are_looked_up() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = Build::chain((0..10).map(|seed| layer(seed, 300 << 10)));
    build.export(&bed.export("a")).await;
    bed.restart();
    let lookups = |bed: &Bed| {
        let method = "POST /twirp/github.actions.results.api.v1.CacheService/";
        bed.way.count(&format!("{method}GetCacheEntryDownloadURL"))
    };
    let probes = |bed: &Bed| bed.way.count("GET /blobs/");
    let job = bed.export("a");
    let open = async |at: usize| {
        let layer = &build.layers[at];
        open(&job, &layer_ref(layer), layer.len()).await.unwrap()
    };
    assert!(open(0).await.is_none());
    // One for the index.
    let all = async {
        while probes(&bed) < 10 + 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, all).await.expect("all ten are looked up");
    let before = lookups(&bed);
    for at in 1..10 {
        assert!(open(at).await.is_none(), "{at}");
    }
    assert_eq!(lookups(&bed), before, "each is looked up once");
}

#[tokio::test]
async fn what_was_promised_long_ago_is_looked_up_for_another_cache() {
    let mut bed = Bed::with(Speaks::V2, forgetful).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    assert_eq!(
        asked(&bed, &build, "b").await,
        [0, 1],
        "nobody knows of them"
    );
    let job = bed.import("a").await;
    for at in 0..2 {
        job.confirm(build.digest(at)).await.unwrap();
    }
    assert_eq!(asked(&bed, &build, "b").await, [0; 0]);
}

#[tokio::test]
async fn an_entry_of_another_size_is_asked_for() {
    let mut bed = Bed::with(Speaks::V2, forgetful).await;
    let build = build();
    build.export(&bed.export("a")).await;
    // A longer entry stands in the place of the second layer.
    let keys = key::BlobKey::new(build.digest(1));
    bed.put(&keys.entry(1), layer(9, 301)).await;
    bed.restart();
    assert_eq!(asked(&bed, &build, "a").await, [1]);
}

/// Other builds wait behind the answer.
#[tokio::test]
async fn a_lookup_that_hangs_holds_nobody_up() {
    let mut bed = Bed::with(Speaks::V2, forgetful).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    let digest = build.digest(0).to_string();
    bed.way
        .fail(&["GetCacheEntryDownloadURL", &digest], Fault::Hung);
    let begun = Instant::now();
    assert_eq!(asked(&bed, &build, "a").await, [0]);
    assert!(begun.elapsed() < Duration::from_millis(2900), "one attempt");
}
