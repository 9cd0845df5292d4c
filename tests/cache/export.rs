//! What an export leaves in the cache, and what it never does.

use std::time::Duration;

use buildkit_gha::{
    actions::Reserved,
    cache::{Config, Outcome, attributes::Attributes, graph::Graph, index_format},
    content::{Commit, Error},
    digest::Digest,
    protocol::key,
};
use futures_util::FutureExt as _;

use crate::fixture::{ApiVersion, Build, Fixture, SOON, index_key, layer, layer_ref, open};

fn build() -> Build {
    // Two parts, one part, and a small one.
    Build::chain([layer(1, 9 << 20), layer(2, 300 << 10), layer(3, 100)])
}

async fn writes_layers_and_the_index(api_version: ApiVersion) {
    let fixture = Fixture::new(api_version).await;
    let build = build();
    let outcome = build.export(&fixture.export("a")).await;
    let first = index_key("a").entry(1);
    assert!(
        fixture.messages.warnings().is_empty(),
        "{:?}",
        fixture.messages.warnings()
    );
    assert_eq!(
        outcome,
        Outcome::Written {
            key: first.clone(),
            layers: 3,
            left_out: 0
        }
    );
    let (key, raw) = fixture.index("a").await.unwrap();
    assert_eq!(key, first);
    assert_eq!(raw, build.index.to_json());
    let client = fixture.client();
    for content in &build.layers {
        let key = key::blob(&buildkit_gha::digest::Digest::sha256(content));
        let entry = client.lookup(&key, &key::version()).await.unwrap().unwrap();
        assert_eq!(client.read_all(&entry, 16 << 20).await.unwrap(), content);
    }
    assert!(fixture.messages.warnings().is_empty());
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn layers_and_index_are_there_over_v1() {
    writes_layers_and_the_index(ApiVersion::V1).await;
}

#[tokio::test]
async fn layers_and_index_are_there_over_v2() {
    writes_layers_and_the_index(ApiVersion::V2).await;
}

#[tokio::test]
async fn the_time_of_an_export_begins_with_its_first_write() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let job = fixture.export("a");
    // The build's steps take longer than an export may.
    tokio::time::pause();
    tokio::time::advance(SOON * 2).await;
    tokio::time::resume();
    let outcome = build().export(&job).await;
    assert!(matches!(outcome, Outcome::Written { .. }), "{outcome:?}");
}

#[tokio::test]
async fn an_unchanged_graph_writes_no_index_and_a_changed_one_the_next() {
    let mut fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    // The layers are known in this process, and another one finds what the index names.
    for restart in [false, true] {
        if restart {
            fixture.restart();
        }
        let job = fixture.export("a");
        let known = open(&job, &layer_ref(&build.layers[0]), build.layers[0].len())
            .await
            .unwrap();
        assert!(known.is_none());
        drop(known);
        assert_eq!(build.export(&fixture.export("a")).await, Outcome::Unchanged);
    }
    assert_eq!(fixture.index("a").await.unwrap().0, index_key("a").entry(1));

    let more = Build::chain(build.layers.iter().cloned().chain([layer(4, 10)]));
    more.export(&fixture.export("a")).await;
    let (key, raw) = fixture.index("a").await.unwrap();
    assert_eq!(key, index_key("a").entry(2));
    assert_eq!(raw, more.index.to_json());
    assert!(
        fixture.messages.warnings().is_empty(),
        "{:?}",
        fixture.messages.warnings()
    );
}

async fn take_all_keys(fixture: &Fixture, digest: Digest) {
    for number in 0..12 {
        let taken = key::BlobKey::new(digest).entry(number);
        let reserved = fixture.client().reserve(&taken, &key::version()).await;
        assert!(matches!(reserved, Ok(Reserved::Created(_))));
    }
}

fn impatient(settings: &mut Config) {
    settings.unfinished_grace = Duration::ZERO;
}

#[tokio::test]
async fn a_layer_that_fails_is_left_out_with_those_above() {
    let fixture = Fixture::with(ApiVersion::V2, impatient).await;
    let build = build();
    // Reservations that are never finished, of all keys that the layer may have.
    take_all_keys(&fixture, build.digest(1)).await;
    let outcome = build.export(&fixture.export("a")).await;
    assert!(
        matches!(
            outcome,
            Outcome::Written {
                layers: 1,
                left_out: 2,
                ..
            }
        ),
        "{outcome:?}"
    );
    let written = index_format::parse(&fixture.index("a").await.unwrap().1).unwrap();
    assert_eq!(written.layers.len(), 1);
    assert_eq!(written.layers[0].blob, build.digest(0));
    assert_eq!(
        written.records.len(),
        3,
        "records stay without their results"
    );
    let causes = ["unfinished", "below", "failed"].map(|cause| fixture.left_out(cause));
    assert_eq!(causes, [1, 1, 0]);
    let warnings = fixture.messages.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains(&build.digest(1).to_string()),
        "{warnings:?}"
    );
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn what_is_left_out_is_an_error_for_who_asks_for_errors() {
    let fixture = Fixture::with(ApiVersion::V2, impatient).await;
    let spec = Attributes {
        ignore_error: Some(false),
        ..fixture.attributes("a")
    };
    let export = || fixture.cache.export(&spec, fixture.reporter()).unwrap();
    let build = build();
    take_all_keys(&fixture, build.digest(1)).await;
    let job = export();
    build.write_layers(&job).await;
    let error = build.write_documents(&job).await.unwrap_err().to_string();
    assert!(
        error.contains("2 of 3 layers are left out") && error.contains("sha256:"),
        "{error}"
    );
    // What could be saved is: the next build is faster whatever became of this one.
    let outcome = job.outcome();
    assert!(
        matches!(outcome, Outcome::Written { layers: 1, .. }),
        "{outcome:?}"
    );
    let whole = Build::chain([layer(1, 9 << 20)]);
    let outcome = whole.export(&export()).await;
    assert!(
        matches!(
            outcome,
            Outcome::Written { left_out: 0, .. } | Outcome::Unchanged
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn nothing_left_keeps_the_older_index() {
    let fixture = Fixture::with(ApiVersion::V2, impatient).await;
    build().export(&fixture.export("a")).await;
    let other = Build::chain([layer(7, 50)]);
    take_all_keys(&fixture, other.digest(0)).await;
    assert_eq!(other.export(&fixture.export("a")).await, Outcome::Nothing);
    let (key, raw) = fixture.index("a").await.unwrap();
    assert_eq!(key, index_key("a").entry(1));
    let graph = Graph::from_index(&index_format::parse(&raw).unwrap()).unwrap();
    assert_eq!(graph, Graph::from_index(&build().index).unwrap());
}

#[tokio::test]
async fn a_number_that_is_taken_is_passed_over() {
    let fixture = Fixture::new(ApiVersion::V1).await;
    let key = index_key("a");
    let _reservation = fixture
        .client()
        .reserve(&key.entry(1), &key::version())
        .await
        .unwrap();
    build().export(&fixture.export("a")).await;
    assert_eq!(fixture.index("a").await.unwrap().0, key.entry(2));
}

#[tokio::test]
async fn a_cancelled_job_leaves_no_index() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    let job = fixture.export("a");
    build.write_layers(&job).await;
    job.cancel();
    let refused = build.write_documents(&job).await;
    assert!(matches!(refused, Err(Error::Aborted(_))), "{refused:?}");
    assert_eq!(job.outcome(), Outcome::Cancelled);
    fixture.is_at_rest().await;
    assert_eq!(fixture.index("a").await, None);
}

#[tokio::test]
async fn a_client_that_leaves_at_the_manifest_leaves_no_index() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    let job = fixture.export("a");
    // This layer never ends, so the manifest's COMMIT waits for it.
    let mut stuck = open(&job, &layer_ref(&build.layers[0]), build.layers[0].len())
        .await
        .unwrap()
        .unwrap();
    stuck.write(build.layers[0].clone()).await.unwrap();
    {
        let mut held = Box::pin(build.write_documents(&job));
        for _ in 0..100 {
            assert!(held.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    }
    drop((stuck, job));
    fixture.is_at_rest().await;
    assert_eq!(fixture.index("a").await, None);
    assert!(!fixture.has(&key::blob(&build.digest(0))).await);
}

#[tokio::test]
async fn bytes_that_are_not_what_their_ref_says_are_never_saved() {
    let fixture = Fixture::new(ApiVersion::V1).await;
    let build = Build::chain([layer(1, 9 << 20)]);
    let job = fixture.export("a");
    let content = &build.layers[0];
    let mut ingest = open(&job, &layer_ref(content), content.len())
        .await
        .unwrap()
        .unwrap();
    let mut wrong = content.to_vec();
    wrong[5] ^= 1;
    ingest.write(wrong.into()).await.unwrap();
    let refused = ingest.commit(Commit::default()).await;
    assert!(
        matches!(refused, Err(Error::FailedPrecondition(_))),
        "{refused:?}"
    );
    drop(ingest);
    build.write_documents(&job).await.unwrap();
    assert_eq!(job.outcome(), Outcome::Nothing);
    assert!(!fixture.has(&key::blob(&build.digest(0))).await);
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn a_layer_without_room_in_the_spool_is_given_up_and_swallowed() {
    let fixture = Fixture::with(ApiVersion::V2, |settings| {
        settings.export_spool_bytes = 64 << 10;
    })
    .await;
    let build = Build::chain([layer(1, 100), layer(2, 3 << 20)]);
    let outcome = build.export(&fixture.export("a")).await;
    assert!(
        matches!(
            outcome,
            Outcome::Written {
                layers: 1,
                left_out: 1,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(
        (fixture.left_out("spool"), fixture.left_out("below")),
        (1, 0)
    );
    assert!(
        fixture.messages.warnings()[0].contains("spool"),
        "{:?}",
        fixture.messages.warnings()
    );
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn refs_of_other_kinds_are_refused() {
    use buildkit_gha::content::{Host as _, IngestSpec};
    let fixture = Fixture::new(ApiVersion::V2).await;
    let job = fixture.export("a");
    for reference in ["", "layer-sha256:12", "sha512:00", "layer"] {
        let spec = IngestSpec {
            reference: reference.into(),
            total: Some(1),
            expected: None,
        };
        let opened = job.open(spec).await;
        assert!(
            matches!(opened, Err(Error::InvalidArgument(_))),
            "{reference}"
        );
    }
}
