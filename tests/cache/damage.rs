//! Damaged entries: never served, not used again, and replaced.

use std::time::Duration;

use buildkit_gha::{
    cache::{FetchError, ImportJob, Outcome, Repair, attributes::Verify},
    digest::Digest,
    protocol::key,
};
use http::StatusCode;

use crate::{
    bed::{Bed, Build, Speaks, index_key, layer},
    import::{bytes, fetch, size},
    lossy::Fault,
};

const LARGE: usize = 9 << 20;

fn build() -> Build {
    Build::chain([layer(1, LARGE), layer(2, 300 << 10), layer(3, 100)])
}

/// An exported build whose first layer is damaged where only reading it all can tell, seen by
/// another process.
async fn damaged(speaks: Speaks) -> (Bed, Build) {
    let mut bed = Bed::new(speaks).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.damage(&build.layers[0]);
    bed.restart();
    (bed, build)
}

async fn found_damaged(job: &ImportJob, digest: Digest) -> (String, Repair, String) {
    assert_eq!(size(&job, digest).await, Some(LARGE as u64));
    let Err(error) = fetch(&job, digest).await else {
        panic!("damaged bytes were served")
    };
    let text = error.to_string();
    let FetchError::Damaged { key, repair, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(size(&job, digest).await, None, "denied from then on");
    (key, repair, text)
}

async fn is_whole(bed: &Bed, build: &Build) {
    let job = bed.import("a").await;
    for (at, content) in build.layers.iter().enumerate() {
        let digest = build.digest(at);
        assert_eq!(size(&job, digest).await, Some(content.len() as u64));
        assert_eq!(bytes(&fetch(&job, digest).await.unwrap()).await, content);
    }
}

async fn is_left_out_and_replaced_under_the_next_key(speaks: Speaks) {
    let (mut bed, build) = damaged(speaks).await;
    let job = bed.import("a").await;
    let digest = build.digest(0);
    let (key, repair, text) = found_damaged(&job, digest).await;
    let keys = key::BlobKey::new(digest);
    assert_eq!((key, repair), (keys.entry(0), Repair::LeftOut));
    for words in [&keys.entry(0), "import-verify=full", "next build"] {
        assert!(text.contains(words) && !text.contains('\n'), "{text}");
    }
    assert_eq!(size(&*bed.import("a").await, digest).await, None);
    drop(job);
    // A process that knows nothing of it is not led there any more.
    assert_eq!(bed.index("a").await.unwrap().0, index_key("a").entry(2));
    let same = bed.cache.clone();
    bed.restart();
    assert_eq!(size(&*bed.import("a").await, digest).await, None);

    bed.cache = same;
    let outcome = build.export(&bed.export("a")).await;
    let written = Outcome::Written {
        key: index_key("a").entry(3),
        layers: 3,
        left_out: 0,
    };
    assert_eq!(outcome, written);
    assert!(bed.has(&keys.entry(1)).await);
    // The mark is gone with the damage.
    is_whole(&bed, &build).await;
    bed.restart();
    is_whole(&bed, &build).await;
    bed.is_at_rest().await;
}

#[tokio::test]
async fn damage_is_left_out_and_replaced_over_v1() {
    is_left_out_and_replaced_under_the_next_key(Speaks::V1).await;
}

#[tokio::test]
async fn damage_is_left_out_and_replaced_over_v2() {
    is_left_out_and_replaced_under_the_next_key(Speaks::V2).await;
}

/// The bytes have the right size, so a process that has not read them can only be told.
#[tokio::test]
async fn a_process_that_did_not_find_the_damage_replaces_it_too() {
    let (mut bed, build) = damaged(Speaks::V2).await;
    found_damaged(&*bed.import("a").await, build.digest(0)).await;
    bed.restart();
    let outcome = build.export(&bed.export("a")).await;
    assert!(
        matches!(outcome, Outcome::Written { left_out: 0, .. }),
        "{outcome:?}"
    );
    assert!(bed.has(&key::BlobKey::new(build.digest(0)).entry(1)).await);
    let (_, raw) = bed.index("a").await.unwrap();
    assert_eq!(raw, build.index.to_json(), "nothing is damaged any more");
    bed.restart();
    is_whole(&bed, &build).await;
}

#[tokio::test]
async fn with_the_rest_api_a_damaged_entry_is_deleted() {
    let (mut bed, build) = damaged(Speaks::V2).await;
    let job = bed.import_as(&bed.spec_with_rest("a")).await;
    let digest = build.digest(0);
    let (key, repair, _) = found_damaged(&job, digest).await;
    assert_eq!(repair, Repair::Deleted);
    assert!(!bed.has(&key).await);
    drop(job);
    build.export(&bed.export("a")).await;
    assert!(bed.has(&key).await, "written again under its own key");
    assert!(!bed.has(&format!("{key}#1")).await);
    bed.restart();
    is_whole(&bed, &build).await;
}

/// The import had no REST API, the export has.
#[tokio::test]
async fn an_export_with_the_rest_api_writes_in_the_place_of_the_damaged_entry() {
    let (mut bed, build) = damaged(Speaks::V1).await;
    let (key, ..) = found_damaged(&*bed.import("a").await, build.digest(0)).await;
    let job = bed.cache.export(&bed.spec_with_rest("a"), bed.reporter());
    build.export(&job.unwrap()).await;
    assert!(bed.has(&key).await && !bed.has(&format!("{key}#1")).await);
    bed.restart();
    is_whole(&bed, &build).await;
}

#[tokio::test]
async fn a_token_that_may_only_read_repairs_nothing_and_says_so() {
    let (bed, build) = damaged(Speaks::V2).await;
    let mut spec = bed.spec("a");
    spec.token = bed.reading.clone();
    let job = bed.import_as(&spec).await;
    let (key, repair, text) = found_damaged(&job, build.digest(0)).await;
    assert_eq!(repair, Repair::Denied);
    assert!(text.contains(&key) && text.contains("deleted"), "{text}");
    assert_eq!(bed.index("a").await.unwrap().0, index_key("a").entry(1));
}

/// The layer is the default branch's, whose index a pull request may not write.
#[tokio::test]
async fn damage_of_another_scope_is_named_in_the_own_one_and_replaced_there() {
    for speaks in [Speaks::V1, Speaks::V2] {
        let (mut bed, build) = damaged(speaks).await;
        let mut spec = bed.spec("a");
        spec.token = bed.pull.clone();
        let job = bed.import_as(&spec).await;
        let (key, repair, text) = found_damaged(&job, build.digest(0)).await;
        assert_eq!(repair, Repair::Named);
        assert!(text.contains(&key) && text.contains("next build"), "{text}");
        drop(job);
        // The next run of the pull request, on a machine that knows nothing of it.
        bed.restart();
        let job = bed.import_as(&spec).await;
        assert_eq!(size(&job, build.digest(0)).await, None);
        assert!(job.confirm(build.digest(1)).await.is_some());
        drop(job);
        let export = bed.cache.export(&spec, bed.reporter()).unwrap();
        let outcome = build.export(&export).await;
        assert!(
            matches!(outcome, Outcome::Written { left_out: 0, .. }),
            "{outcome:?}"
        );
        bed.restart();
        let job = bed.import_as(&spec).await;
        for at in 0..build.layers.len() {
            let blob = fetch(&job, build.digest(at)).await.unwrap();
            assert_eq!(bytes(&blob).await, build.layers[at]);
        }
        // What is not its own is as it was.
        assert_eq!(bed.index("a").await.unwrap().0, index_key("a").entry(1));
    }
}

/// `ghtoken` may delete all entries; the token of the build says which are the build's to judge.
#[tokio::test]
async fn damage_of_another_scope_is_not_deleted() {
    let (bed, build) = damaged(Speaks::V2).await;
    let mut spec = bed.spec_with_rest("a");
    spec.token = bed.pull.clone();
    let job = bed.import_as(&spec).await;
    let (key, repair, _) = found_damaged(&job, build.digest(0)).await;
    assert_eq!(repair, Repair::Named);
    assert!(bed.has(&key).await);
}

/// Requests for the bytes of entries.
const BYTES: &str = "GET /blobs/";

/// A proxy on the way that answers with a page of its own has not damaged the cache.
#[tokio::test]
async fn one_wrong_answer_is_no_damage() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    let job = bed.import_as(&bed.spec_with_rest("a")).await;
    bed.way.fail(&[BYTES], Fault::Page);
    assert_eq!(size(&job, build.digest(0)).await, Some(LARGE as u64));
    // And in the middle of the bytes.
    bed.way.fail(&[BYTES], Fault::Page);
    let blob = fetch(&job, build.digest(0)).await.unwrap();
    assert_eq!(bytes(&blob).await, build.layers[0]);
    assert_eq!(bed.way.left(), 0);
    assert!(bed.has(&key::blob(&build.digest(0))).await);
}

/// An entry whose bytes cannot be had for good although its service answers: it would fail every
/// build that relies on it.
#[tokio::test]
async fn bytes_that_never_come_whole_are_damage_and_replaced() {
    for fault in [
        Fault::Short,
        Fault::Page,
        Fault::Refused(StatusCode::NOT_FOUND),
    ] {
        let mut bed = Bed::with(Speaks::V2, |settings| {
            settings.client.retry.first_wait = Duration::from_millis(1);
        })
        .await;
        let build = build();
        build.export(&bed.export("a")).await;
        bed.restart();
        let job = bed.import("a").await;
        let digest = build.digest(0);
        assert_eq!(size(&job, digest).await, Some(LARGE as u64));
        // An index is read without a range.
        bed.way.fail_always(&[BYTES, "bytes="], fault);
        let repair = match fetch(&job, digest).await {
            Err(FetchError::Damaged { repair, .. }) => repair,
            Err(error) => panic!("{fault:?}: {error}"),
            Ok(_) => panic!("{fault:?}: served"),
        };
        assert_eq!(repair, Repair::LeftOut, "{fault:?}");
        bed.way.heal();
        drop(job);
        // The next run, on a machine that knows nothing of it.
        bed.restart();
        assert_eq!(size(&*bed.import("a").await, digest).await, None);
        let outcome = build.export(&bed.export("a")).await;
        assert!(
            matches!(outcome, Outcome::Written { left_out: 0, .. }),
            "{outcome:?}"
        );
        bed.restart();
        is_whole(&bed, &build).await;
    }
}

/// An entry of the wrong size is found by an export that is told it exists.
#[tokio::test]
async fn an_entry_of_the_wrong_size_is_not_believed() {
    for speaks in [Speaks::V1, Speaks::V2] {
        let mut bed = Bed::new(speaks).await;
        let build = build();
        let keys = key::BlobKey::new(build.digest(0));
        bed.put(&keys.entry(0), "half of it").await;
        build.export(&bed.export("a")).await;
        assert!(bed.has(&keys.entry(1)).await);
        assert!(bed.said.warnings().is_empty(), "{:?}", bed.said.warnings());
        bed.restart();
        is_whole(&bed, &build).await;
    }
}

#[tokio::test]
async fn a_full_check_makes_damage_a_miss() {
    let (bed, build) = damaged(Speaks::V2).await;
    let mut spec = bed.spec("a");
    spec.import_verify = Verify::Full;
    let job = bed.import_as(&spec).await;
    assert_eq!(size(&job, build.digest(0)).await, None);
    assert!(bed.said.warnings()[0].contains("damaged"));
    // What is whole is there before it is asked for, and read from this machine.
    assert_eq!(size(&job, build.digest(1)).await, Some(300 << 10));
    let reads = bed.way.count("GET /");
    let blob = fetch(&job, build.digest(1)).await.unwrap();
    assert_eq!(bytes(&blob).await, build.layers[1]);
    assert_eq!(bed.way.count("GET /"), reads);
    drop((blob, job));
    bed.is_at_rest().await;
}

#[tokio::test]
async fn a_layer_without_room_to_keep_it_is_probed_and_said_so() {
    let mut bed = Bed::with(Speaks::V2, |settings| {
        settings.import_spool_bytes = 16 << 20;
    })
    .await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    let mut spec = bed.spec("a");
    spec.import_verify = Verify::Full;
    let job = bed.import_as(&spec).await;
    assert_eq!(size(&job, build.digest(0)).await, Some(LARGE as u64));
    let said = bed.said.notes();
    assert!(said.iter().any(|note| note.contains("no room")), "{said:?}");
    let blob = fetch(&job, build.digest(0)).await.unwrap();
    assert_eq!(bytes(&blob).await, build.layers[0]);
}

#[tokio::test]
async fn small_damage_is_found_before_the_promise() {
    let mut bed = Bed::new(Speaks::V1).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.damage(&build.layers[2]);
    bed.restart();
    let job = bed.import("a").await;
    assert_eq!(size(&job, build.digest(2)).await, None);
    assert!(
        bed.said.warnings()[0].contains("damaged"),
        "{:?}",
        bed.said.warnings()
    );
}
