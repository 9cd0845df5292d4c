//! Exports with `async=true`: they are answered when all bytes are in the spool, and go on.

use std::{sync::Arc, time::Duration};

use buildkit_gha::{
    cache::{Event, ExportEnd, ExportJob, Outcome, attributes::Attributes},
    protocol::key,
    stats::UnfinishedExport,
};
use http::StatusCode;
use tokio::time::timeout;

use crate::{
    fixture::{ApiVersion, Build, Fixture, SOON, index_key, layer},
    lossy::Fault,
};

/// Longer than an export takes that nothing holds up.
const HELD: Duration = Duration::from_secs(2);

/// Makes an entry.
const CREATE: &str = "CreateCacheEntry";

fn export(fixture: &Fixture, scope: &str) -> Arc<ExportJob> {
    let attributes = Attributes {
        asynchronous: true,
        ..fixture.attributes(scope)
    };
    fixture
        .cache
        .export(&attributes, fixture.reporter())
        .unwrap()
}

/// The reservation of one layer takes a while.
fn hold(fixture: &Fixture, build: &Build, at: usize) {
    let key = key::blob(&build.digest(at));
    fixture.proxy.fail(&[CREATE, &key], Fault::Slow(HELD));
}

/// What exports were summed up as.
fn ends(fixture: &Fixture) -> Vec<ExportEnd> {
    let events = fixture.messages.events();
    let ends = events.into_iter().filter_map(|event| match event {
        Event::ExportSummary(summary) => Some(summary.state),
        _ => None,
    });
    ends.collect()
}

async fn none_pending(fixture: &Fixture) {
    timeout(SOON, fixture.cache.none_pending()).await.unwrap();
    assert_eq!(fixture.cache.pending_count(), 0);
}

#[tokio::test]
async fn a_build_may_end_before_its_export_has() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let build = Build::chain([layer(1, 300 << 10), layer(2, 100)]);
    hold(&fixture, &build, 0);
    let job = export(&fixture, "a");
    build.write_layers(&job).await;
    build.write_documents(&job).await.unwrap();
    // Written twice, as after a lost answer.
    build.write_documents(&job).await.unwrap();
    assert_eq!(job.outcome(), Outcome::Open);
    assert_eq!(
        job.under_way(),
        None,
        "it is pending, which is counted apart"
    );
    let expected = UnfinishedExport {
        scope: "a".to_owned(),
        layers: 1,
    };
    let layers_left = async {
        while fixture.cache.pending() != [expected.clone()] {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, layers_left).await.expect("one layer is held");
    assert!(fixture.index("a").await.is_none(), "the index comes last");
    assert_eq!(ends(&fixture), [ExportEnd::Pending]);
    // The build ends.
    job.cancel();
    drop(job);
    none_pending(&fixture).await;
    let (_, index) = fixture.index("a").await.expect("it is written");
    assert_eq!(index, build.index.to_json());
    assert_eq!(ends(&fixture), [ExportEnd::Pending, ExportEnd::Written]);
    assert!(fixture.messages.warnings().is_empty());
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn a_build_that_ends_before_its_manifest_leaves_nothing() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let build = Build::chain([layer(1, 300 << 10)]);
    hold(&fixture, &build, 0);
    let job = export(&fixture, "a");
    build.write_layers(&job).await;
    assert_eq!(job.under_way().unwrap().layers, 1);
    job.cancel();
    drop(job);
    assert_eq!(fixture.cache.pending_count(), 0);
    fixture.is_at_rest().await;
    assert!(fixture.index("a").await.is_none());
}

#[tokio::test]
async fn the_build_that_ended_last_counts() {
    for last_goes_on in [true, false] {
        let fixture = Fixture::new(ApiVersion::V2).await;
        let first = Build::chain([layer(1, 300 << 10)]);
        let last = Build::chain([layer(2, 300 << 10)]);
        hold(&fixture, &first, 0);
        let job = export(&fixture, "a");
        first.export(&job).await;
        let next = if last_goes_on {
            export(&fixture, "a")
        } else {
            fixture.export("a")
        };
        last.export(&next).await;
        assert_eq!(fixture.cache.pending_count(), 1 + usize::from(last_goes_on));
        none_pending(&fixture).await;
        let (key, index) = fixture.index("a").await.expect("it is written");
        assert_eq!(index, last.index.to_json());
        assert_eq!(key, index_key("a").entry(1), "the other wrote none");
        assert_eq!(job.outcome(), Outcome::Superseded);
        let notes = fixture.messages.notes();
        let given_way = notes.iter().filter(|note| note.contains("a later export"));
        assert_eq!(given_way.count(), 1, "{notes:?}");
    }
}

#[tokio::test]
async fn what_fails_after_the_build_is_a_warning() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let build = Build::chain([layer(1, 300 << 10)]);
    let refused = Fault::Refused(StatusCode::FORBIDDEN);
    fixture.proxy.fail_always(&[CREATE, "index-a"], refused);
    let job = export(&fixture, "a");
    build.write_layers(&job).await;
    build.write_documents(&job).await.unwrap();
    none_pending(&fixture).await;
    assert!(matches!(job.outcome(), Outcome::Failed(_)));
    let warnings = fixture.messages.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("the index was not written"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_build_waits_while_the_spool_is_more_than_half_full() {
    const SPOOL: u64 = 1 << 20;
    let half = SPOOL / 2;
    for (size, waits) in [(700 << 10, true), (300 << 10, false)] {
        let fixture = Fixture::with(ApiVersion::V2, |config| {
            config.export_spool_bytes = SPOOL;
        })
        .await;
        let build = Build::chain([layer(1, size)]);
        hold(&fixture, &build, 0);
        let job = export(&fixture, "a");
        build.write_layers(&job).await;
        assert_eq!(fixture.cache.usage().exports > half, waits);
        build.write_documents(&job).await.unwrap();
        let usage = fixture.cache.usage().exports;
        assert_eq!(usage == 0, waits, "{usage}");
        none_pending(&fixture).await;
    }
}
