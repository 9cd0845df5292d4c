//! How many calls exports and imports make, and what they fetch without being asked.

use std::{sync::Arc, time::Duration};

use buildkit_gha::{
    cache::{Config, ImportJob, Outcome, attributes::Attributes},
    protocol::key,
};
use http::StatusCode;
use tokio::time::timeout;

use crate::{
    bed::{Bed, Build, SOON, Speaks, index_key, layer, layer_ref, open},
    import::{bytes, fetch, size},
    lossy::Fault,
};

/// Larger than what a promise reads at once.
const LAYER: usize = 300 << 10;

const API: &str = "POST /twirp";
const RESERVE: &str = "POST /twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry";
const LIST: &str = "GET /repos/";

fn build(layers: u8) -> Build {
    Build::chain((0..layers).map(|seed| layer(seed, LAYER)))
}

#[tokio::test]
async fn a_new_layer_costs_two_calls() {
    let bed = Bed::new(Speaks::V2).await;
    let outcome = build(10).export(&bed.export("a")).await;
    assert!(matches!(outcome, Outcome::Written { layers: 10, .. }));
    assert!(bed.way.count(API) <= 2 * 10 + 6, "{}", bed.way.count(API));
}

#[tokio::test]
async fn what_is_proven_costs_no_call_and_an_unchanged_index_no_entry() {
    let bed = Bed::new(Speaks::V2).await;
    let build = build(10);
    build.export(&bed.export("a")).await;
    let [calls, reserved] = [API, RESERVE].map(|call| bed.way.count(call));
    assert_eq!(build.export(&bed.export("a")).await, Outcome::Unchanged);
    assert!(bed.way.count(API) <= calls + 4);
    assert_eq!(bed.way.count(RESERVE), reserved);
}

#[tokio::test]
async fn what_the_newest_index_names_is_looked_up_and_not_reserved() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build(10);
    build.export(&bed.export("a")).await;
    bed.restart();
    let [calls, reserved] = [API, RESERVE].map(|call| bed.way.count(call));
    assert_eq!(build.export(&bed.export("a")).await, Outcome::Unchanged);
    assert!(bed.way.count(API) <= calls + 10 + 6);
    assert_eq!(bed.way.count(RESERVE), reserved);
}

#[tokio::test]
async fn an_index_proves_nothing() {
    let bed = Bed::new(Speaks::V2).await;
    let build = build(3);
    // The index is all that is left.
    let stored = build.index.to_json();
    bed.put(&index_key("a").entry(1), stored).await;
    assert_eq!(build.export(&bed.export("a")).await, Outcome::Unchanged);
    for at in 0..3 {
        let key = buildkit_gha::protocol::key::blob(&build.digest(at));
        assert!(bed.has(&key).await);
    }
}

/// Exports again what is there, on a gateway that lists once; the answer is how many calls that took.
async fn nothing_changed(bed: &Bed, build: &Build, spec: &Attributes) -> usize {
    let calls = bed.way.count(API);
    let export = bed.cache.export(spec, bed.reporter()).unwrap();
    assert_eq!(build.export(&export).await, Outcome::Unchanged);
    assert_eq!(bed.way.count(LIST), 1);
    bed.way.count(API) - calls
}

#[tokio::test]
async fn one_listing_stands_for_all_lookups_of_an_export() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build(10);
    build.export(&bed.export("a")).await;
    bed.restart();
    let calls = nothing_changed(&bed, &build, &bed.spec_with_rest("a")).await;
    assert!(calls <= 6, "{calls}");
}

/// A listing is no newer than its request.
#[tokio::test]
async fn an_old_listing_is_no_proof() {
    let adjust = |settings: &mut Config| settings.proof_age = Duration::ZERO;
    let mut bed = Bed::with(Speaks::V2, adjust).await;
    let build = build(10);
    build.export(&bed.export("a")).await;
    bed.restart();
    let calls = nothing_changed(&bed, &build, &bed.spec_with_rest("a")).await;
    assert!(calls >= 10, "{calls}");
}

/// What was listed may have been deleted since, and a build fails over a layer that was promised.
#[tokio::test]
async fn an_import_looks_every_layer_up_whatever_was_listed() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build(3);
    build.export(&bed.export("a")).await;
    bed.restart();
    let spec = bed.spec_with_rest("a");
    nothing_changed(&bed, &build, &spec).await;
    bed.restart();
    // Its listing has what is deleted now.
    let export = bed.cache.export(&spec, bed.reporter()).unwrap();
    build.write_layers(&export).await;
    let job = bed.import_as(&spec).await;
    bed.delete(&key::blob(&build.digest(1))).await;
    assert_eq!(size(&job, build.digest(1)).await, None);
    assert_eq!(size(&job, build.digest(0)).await, Some(LAYER as u64));
    drop(export);
}

/// Else the index of the next export would name a layer that is gone.
#[tokio::test]
async fn what_was_missed_is_not_proven_by_an_older_listing() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build(2);
    build.export(&bed.export("a")).await;
    bed.restart();
    let spec = bed.spec_with_rest("a");
    let lists = bed.cache.export(&spec, bed.reporter()).unwrap();
    build.write_layers(&lists).await;
    bed.delete(&key::blob(&build.digest(1))).await;
    let import = bed.import_as(&spec).await;
    assert_eq!(size(&import, build.digest(1)).await, None);

    let export = bed.cache.export(&spec, bed.reporter()).unwrap();
    let mut asked = Vec::new();
    for layer in &build.layers {
        let writer = open(&export, &layer_ref(layer), layer.len()).await.unwrap();
        asked.push(writer.is_some());
    }
    assert_eq!(asked, [false, true]);
}

#[tokio::test]
async fn where_the_listing_fails_layers_are_looked_up() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build(10);
    build.export(&bed.export("a")).await;
    bed.restart();
    bed.way.fail(&[LIST], Fault::Refused(StatusCode::FORBIDDEN));
    let spec = bed.spec_with_rest("a");
    nothing_changed(&bed, &build, &spec).await;
}

/// Requests for the bytes of layers.
fn reads(bed: &Bed) -> usize {
    bed.way.count("GET /blobs/")
}

/// A gateway that has looked up all layers of a chain.
async fn importing(bed: &mut Bed, build: &Build) -> Arc<ImportJob> {
    build.export(&bed.export("a")).await;
    bed.restart();
    let job = bed.import("a").await;
    for at in 0..build.layers.len() {
        job.confirm(build.digest(at)).await.unwrap();
    }
    job
}

#[tokio::test]
async fn the_rest_of_a_chain_is_fetched_once_four_in_a_row_are_pulled() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build(10);
    let job = importing(&mut bed, &build).await;
    let before = reads(&bed);
    for at in [9, 8, 7] {
        fetch(&job, build.digest(at)).await.unwrap();
    }
    assert_eq!(reads(&bed), before + 3, "more may not be needed");
    fetch(&job, build.digest(6)).await.unwrap();
    let ahead = async {
        while reads(&bed) < before + 10 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, ahead).await.expect("all ten are read");
    for at in 0..6 {
        let blob = fetch(&job, build.digest(at)).await.unwrap();
        assert_eq!(bytes(&blob).await, build.layers[at]);
    }
    assert_eq!(reads(&bed), before + 10, "each is read once");
    drop(job);
    bed.is_at_rest().await;
}

#[tokio::test]
async fn what_buildkitd_has_is_not_fetched_again() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build(8);
    let job = importing(&mut bed, &build).await;
    for at in 0..4 {
        fetch(&job, build.digest(at)).await.unwrap();
    }
    let other = bed.import("a").await;
    for at in 0..8 {
        other.confirm(build.digest(at)).await.unwrap();
    }
    let before = reads(&bed);
    for at in [7, 6, 5, 4] {
        fetch(&other, build.digest(at)).await.unwrap();
    }
    assert_eq!(bed.cache.usage().imports, 0, "nothing is kept");
    assert_eq!(reads(&bed), before + 4);
}
