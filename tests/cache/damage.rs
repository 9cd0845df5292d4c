//! Damaged entries: never served, not used again, and replaced.

use std::time::Duration;

use buildkit_gha::{
    cache::{FetchError, ImportJob, Outcome, Repair, attributes::Verify},
    digest::Digest,
    protocol::key,
};
use http::StatusCode;

use crate::{
    fixture::{ApiVersion, Build, Fixture, index_key, layer},
    import::{bytes, fetch, size},
    lossy::Fault,
};

const LARGE: usize = 9 << 20;

fn build() -> Build {
    Build::chain([layer(1, LARGE), layer(2, 300 << 10), layer(3, 100)])
}

/// An exported build whose first layer is damaged where only reading it all can tell, seen by
/// another process.
async fn damaged(api_version: ApiVersion) -> (Fixture, Build) {
    let mut fixture = Fixture::new(api_version).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.damage(&build.layers[0]);
    fixture.restart();
    (fixture, build)
}

async fn found_damaged(job: &ImportJob, digest: Digest) -> (String, Repair, String) {
    assert_eq!(size(job, digest).await, Some(LARGE as u64));
    let Err(error) = fetch(job, digest).await else {
        panic!("damaged bytes were served")
    };
    let text = error.to_string();
    let FetchError::Damaged { key, repair, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(size(job, digest).await, None, "denied from then on");
    (key, repair, text)
}

async fn is_whole(fixture: &Fixture, build: &Build) {
    let job = fixture.import("a").await;
    for (at, content) in build.layers.iter().enumerate() {
        let digest = build.digest(at);
        assert_eq!(size(&job, digest).await, Some(content.len() as u64));
        assert_eq!(bytes(&fetch(&job, digest).await.unwrap()).await, content);
    }
}

async fn is_left_out_and_replaced_under_the_next_key(api_version: ApiVersion) {
    let (mut fixture, build) = damaged(api_version).await;
    let job = fixture.import("a").await;
    let digest = build.digest(0);
    let (key, repair, text) = found_damaged(&job, digest).await;
    let keys = key::BlobKey::new(digest);
    assert_eq!((key, repair), (keys.entry(0), Repair::LeftOut));
    for words in [&keys.entry(0), "import-verify=full", "next build"] {
        assert!(text.contains(words) && !text.contains('\n'), "{text}");
    }
    assert_eq!(size(&*fixture.import("a").await, digest).await, None);
    drop(job);
    // A process that knows nothing of it is not led there any more.
    assert_eq!(fixture.index("a").await.unwrap().0, index_key("a").entry(2));
    let same = fixture.cache.clone();
    fixture.restart();
    assert_eq!(size(&*fixture.import("a").await, digest).await, None);

    fixture.cache = same;
    let outcome = build.export(&fixture.export("a")).await;
    let written = Outcome::Written {
        key: index_key("a").entry(3),
        layers: 3,
        left_out: 0,
    };
    assert_eq!(outcome, written);
    assert!(fixture.has(&keys.entry(1)).await);
    // The mark is gone with the damage.
    is_whole(&fixture, &build).await;
    fixture.restart();
    is_whole(&fixture, &build).await;
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn damage_is_left_out_and_replaced_over_v1() {
    is_left_out_and_replaced_under_the_next_key(ApiVersion::V1).await;
}

#[tokio::test]
async fn damage_is_left_out_and_replaced_over_v2() {
    is_left_out_and_replaced_under_the_next_key(ApiVersion::V2).await;
}

/// The bytes have the right size, so a process that has not read them can only be told.
#[tokio::test]
async fn a_process_that_did_not_find_the_damage_replaces_it_too() {
    let (mut fixture, build) = damaged(ApiVersion::V2).await;
    found_damaged(&*fixture.import("a").await, build.digest(0)).await;
    fixture.restart();
    let outcome = build.export(&fixture.export("a")).await;
    assert!(
        matches!(outcome, Outcome::Written { left_out: 0, .. }),
        "{outcome:?}"
    );
    assert!(
        fixture
            .has(&key::BlobKey::new(build.digest(0)).entry(1))
            .await
    );
    let (_, raw) = fixture.index("a").await.unwrap();
    assert_eq!(raw, build.index.to_json(), "nothing is damaged any more");
    fixture.restart();
    is_whole(&fixture, &build).await;
}

#[tokio::test]
async fn with_the_rest_api_a_damaged_entry_is_deleted() {
    let (mut fixture, build) = damaged(ApiVersion::V2).await;
    let job = fixture.import_as(&fixture.attributes_with_rest("a")).await;
    let digest = build.digest(0);
    let (key, repair, _) = found_damaged(&job, digest).await;
    assert_eq!(repair, Repair::Deleted);
    assert!(!fixture.has(&key).await);
    drop(job);
    build.export(&fixture.export("a")).await;
    assert!(fixture.has(&key).await, "written again under its own key");
    assert!(!fixture.has(&format!("{key}#1")).await);
    fixture.restart();
    is_whole(&fixture, &build).await;
}

/// The import had no REST API, the export has.
#[tokio::test]
async fn an_export_with_the_rest_api_writes_in_the_place_of_the_damaged_entry() {
    let (mut fixture, build) = damaged(ApiVersion::V1).await;
    let (key, ..) = found_damaged(&*fixture.import("a").await, build.digest(0)).await;
    let job = fixture
        .cache
        .export(&fixture.attributes_with_rest("a"), fixture.reporter());
    build.export(&job.unwrap()).await;
    assert!(fixture.has(&key).await && !fixture.has(&format!("{key}#1")).await);
    fixture.restart();
    is_whole(&fixture, &build).await;
}

#[tokio::test]
async fn a_token_that_may_only_read_repairs_nothing_and_says_so() {
    let (fixture, build) = damaged(ApiVersion::V2).await;
    let mut spec = fixture.attributes("a");
    spec.token = fixture.reading.clone();
    let job = fixture.import_as(&spec).await;
    let (key, repair, text) = found_damaged(&job, build.digest(0)).await;
    assert_eq!(repair, Repair::Denied);
    assert!(text.contains(&key) && text.contains("deleted"), "{text}");
    assert_eq!(fixture.index("a").await.unwrap().0, index_key("a").entry(1));
}

/// The layer is the default branch's, whose index a pull request may not write.
#[tokio::test]
async fn damage_of_another_scope_is_named_in_the_own_one_and_replaced_there() {
    for api_version in [ApiVersion::V1, ApiVersion::V2] {
        let (mut fixture, build) = damaged(api_version).await;
        let mut spec = fixture.attributes("a");
        spec.token = fixture.pull.clone();
        let job = fixture.import_as(&spec).await;
        let (key, repair, text) = found_damaged(&job, build.digest(0)).await;
        assert_eq!(repair, Repair::Named);
        assert!(text.contains(&key) && text.contains("next build"), "{text}");
        drop(job);
        // The next run of the pull request, on a machine that knows nothing of it.
        fixture.restart();
        let job = fixture.import_as(&spec).await;
        assert_eq!(size(&job, build.digest(0)).await, None);
        assert!(job.confirm(build.digest(1)).await.is_some());
        drop(job);
        let export = fixture.cache.export(&spec, fixture.reporter()).unwrap();
        let outcome = build.export(&export).await;
        assert!(
            matches!(outcome, Outcome::Written { left_out: 0, .. }),
            "{outcome:?}"
        );
        fixture.restart();
        let job = fixture.import_as(&spec).await;
        for at in 0..build.layers.len() {
            let blob = fetch(&job, build.digest(at)).await.unwrap();
            assert_eq!(bytes(&blob).await, build.layers[at]);
        }
        // What is not its own is as it was.
        assert_eq!(fixture.index("a").await.unwrap().0, index_key("a").entry(1));
    }
}

/// `ghtoken` may delete all entries; the token of the build says which are the build's to judge.
#[tokio::test]
async fn damage_of_another_scope_is_not_deleted() {
    let (fixture, build) = damaged(ApiVersion::V2).await;
    let mut spec = fixture.attributes_with_rest("a");
    spec.token = fixture.pull.clone();
    let job = fixture.import_as(&spec).await;
    let (key, repair, _) = found_damaged(&job, build.digest(0)).await;
    assert_eq!(repair, Repair::Named);
    assert!(fixture.has(&key).await);
}

/// Requests for the bytes of entries.
const BYTES: &str = "GET /blobs/";

/// A proxy on the way that answers with a page of its own has not damaged the cache.
#[tokio::test]
async fn one_wrong_answer_is_no_damage() {
    let mut fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let job = fixture.import_as(&fixture.attributes_with_rest("a")).await;
    fixture.proxy.fail(&[BYTES], Fault::Page);
    assert_eq!(size(&job, build.digest(0)).await, Some(LARGE as u64));
    // And in the middle of the bytes.
    fixture.proxy.fail(&[BYTES], Fault::Page);
    let blob = fetch(&job, build.digest(0)).await.unwrap();
    assert_eq!(bytes(&blob).await, build.layers[0]);
    assert_eq!(fixture.proxy.left(), 0);
    assert!(fixture.has(&key::blob(&build.digest(0))).await);
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
        let mut fixture = Fixture::with(ApiVersion::V2, |settings| {
            settings.client.retry.first_wait = Duration::from_millis(1);
        })
        .await;
        let build = build();
        build.export(&fixture.export("a")).await;
        fixture.restart();
        let job = fixture.import("a").await;
        let digest = build.digest(0);
        assert_eq!(size(&job, digest).await, Some(LARGE as u64));
        // An index is read without a range.
        fixture.proxy.fail_always(&[BYTES, "bytes="], fault);
        let repair = match fetch(&job, digest).await {
            Err(FetchError::Damaged { repair, .. }) => repair,
            Err(error) => panic!("{fault:?}: {error}"),
            Ok(_) => panic!("{fault:?}: served"),
        };
        assert_eq!(repair, Repair::LeftOut, "{fault:?}");
        fixture.proxy.repair();
        drop(job);
        // The next run, on a machine that knows nothing of it.
        fixture.restart();
        assert_eq!(size(&*fixture.import("a").await, digest).await, None);
        let outcome = build.export(&fixture.export("a")).await;
        assert!(
            matches!(outcome, Outcome::Written { left_out: 0, .. }),
            "{outcome:?}"
        );
        fixture.restart();
        is_whole(&fixture, &build).await;
    }
}

/// An entry of the wrong size is found by an export that is told it exists.
#[tokio::test]
async fn an_entry_of_the_wrong_size_is_not_believed() {
    for api_version in [ApiVersion::V1, ApiVersion::V2] {
        let mut fixture = Fixture::new(api_version).await;
        let build = build();
        let keys = key::BlobKey::new(build.digest(0));
        fixture.put(&keys.entry(0), "half of it").await;
        build.export(&fixture.export("a")).await;
        assert!(fixture.has(&keys.entry(1)).await);
        assert!(
            fixture.messages.warnings().is_empty(),
            "{:?}",
            fixture.messages.warnings()
        );
        fixture.restart();
        is_whole(&fixture, &build).await;
    }
}

#[tokio::test]
async fn a_full_check_makes_damage_a_miss() {
    let (fixture, build) = damaged(ApiVersion::V2).await;
    let mut spec = fixture.attributes("a");
    spec.import_verify = Verify::Full;
    let job = fixture.import_as(&spec).await;
    assert_eq!(size(&job, build.digest(0)).await, None);
    assert!(fixture.messages.warnings()[0].contains("damaged"));
    // What is whole is there before it is asked for, and read from this machine.
    assert_eq!(size(&job, build.digest(1)).await, Some(300 << 10));
    let reads = fixture.proxy.count("GET /");
    let blob = fetch(&job, build.digest(1)).await.unwrap();
    assert_eq!(bytes(&blob).await, build.layers[1]);
    assert_eq!(fixture.proxy.count("GET /"), reads);
    drop((blob, job));
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn a_layer_without_room_to_keep_it_is_probed_and_said_so() {
    let mut fixture = Fixture::with(ApiVersion::V2, |settings| {
        settings.import_spool_bytes = 16 << 20;
    })
    .await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let mut spec = fixture.attributes("a");
    spec.import_verify = Verify::Full;
    let job = fixture.import_as(&spec).await;
    assert_eq!(size(&job, build.digest(0)).await, Some(LARGE as u64));
    let messages = fixture.messages.notes();
    assert!(
        messages.iter().any(|note| note.contains("no room")),
        "{messages:?}"
    );
    let blob = fetch(&job, build.digest(0)).await.unwrap();
    assert_eq!(bytes(&blob).await, build.layers[0]);
}

#[tokio::test]
async fn small_damage_is_found_before_a_layer_is_confirmed() {
    let mut fixture = Fixture::new(ApiVersion::V1).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.damage(&build.layers[2]);
    fixture.restart();
    let job = fixture.import("a").await;
    assert_eq!(size(&job, build.digest(2)).await, None);
    assert!(
        fixture.messages.warnings()[0].contains("damaged"),
        "{:?}",
        fixture.messages.warnings()
    );
}
