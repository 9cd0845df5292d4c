//! What jobs say of themselves at their end.

use buildkit_gha::cache::{Event, ExportEnd, ExportSummary, ImportSummary, NoIndex};
use http::StatusCode;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    fixture::{ApiVersion, BRANCH, Build, Fixture, layer},
    import::{bytes, fetch},
    lossy::Fault,
};

fn exports(fixture: &Fixture) -> Vec<ExportSummary> {
    let summary = |event| match event {
        Event::ExportSummary(summary) => Some(*summary),
        _ => None,
    };
    (fixture.messages.events().into_iter())
        .filter_map(summary)
        .collect()
}

fn imports(fixture: &Fixture) -> Vec<ImportSummary> {
    let summary = |event| match event {
        Event::ImportSummary(summary) => Some(*summary),
        _ => None,
    };
    (fixture.messages.events().into_iter())
        .filter_map(summary)
        .collect()
}

#[tokio::test]
async fn an_export_says_what_it_sent_and_what_was_there() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let first = Build::chain([layer(1, 300 << 10), layer(2, 100)]);
    let more = Build::chain([layer(1, 300 << 10), layer(2, 100), layer(3, 50)]);
    for build in [&first, &first, &more] {
        let job = fixture.export("a");
        build.export(&job).await;
        // What has ended says nothing more.
        job.cancel();
    }
    let unbegun = fixture.export("a");
    unbegun.cancel();
    fixture.proxy.fail(
        &["/CreateCacheEntry", "index-"],
        Fault::Refused(StatusCode::FORBIDDEN),
    );
    let other = Build::chain([layer(4, 10)]);
    let failed = fixture.export("a");
    other.write_layers(&failed).await;
    assert!(other.write_documents(&failed).await.is_err());

    let said = exports(&fixture);
    let figures: Vec<_> = (said.iter())
        .map(|s| {
            (
                s.state,
                s.layers_sent,
                s.layers_present,
                s.layers_left_out,
                s.bytes_sent,
            )
        })
        .collect();
    let expected = [
        (ExportEnd::Written, 2, 0, 0, (300 << 10) + 100),
        (ExportEnd::Unchanged, 0, 2, 0, 0),
        (ExportEnd::Written, 1, 2, 0, 50),
        (ExportEnd::Skipped, 0, 0, 0, 0),
        (ExportEnd::Failed, 1, 0, 0, 10),
    ];
    assert_eq!(figures, expected);
    assert!(said.iter().all(|summary| summary.scope == "a"));
    // Looks for the index; for each layer, and the index: reserved, sent, finished.
    let calls = said[0].usage.calls;
    assert!((10..=12).contains(&calls), "{calls}");
    assert_eq!(said[3].usage.waited.as_secs(), 0);
}

#[tokio::test]
async fn an_import_says_what_was_there_and_what_was_fetched() {
    let mut fixture = Fixture::new(ApiVersion::V2).await;
    let build = Build::apart([layer(1, 300 << 10), layer(2, 100), layer(3, 200)]);
    build.export(&fixture.export("a")).await;
    fixture
        .delete(&buildkit_gha::protocol::key::blob(&build.digest(2)))
        .await;
    fixture.restart();
    let job = fixture.import("a").await;
    for at in 0..2 {
        let blob = fetch(&job, build.digest(at)).await.unwrap();
        assert_eq!(bytes(&blob).await, build.layers[at]);
    }
    assert!(job.confirm(build.digest(2)).await.is_none());
    job.retire();
    drop(job);
    let [said] = &imports(&fixture)[..] else {
        panic!("{:?}", imports(&fixture))
    };
    assert_eq!((said.layers_confirmed, said.layers_gone), (2, 1));
    assert_eq!(
        (said.layers_fetched, said.bytes_fetched),
        (2, (300 << 10) + 100)
    );
    assert_eq!(said.layers_ahead, 0);
    let [index] = &said.indexes[..] else {
        panic!("{:?}", said.indexes)
    };
    assert_eq!(index.branch, BRANCH);
    let found = index.found.as_ref().unwrap();
    let created: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    assert_eq!((found.created, found.layers), (Some(created), 3));
}

#[tokio::test]
async fn an_import_says_why_it_has_no_index() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    for reason in [NoIndex::Absent, NoIndex::Failed] {
        if reason == NoIndex::Failed {
            let refused = Fault::Refused(StatusCode::FORBIDDEN);
            fixture.proxy.fail(&["/GetCacheEntryDownloadURL"], refused);
        }
        fixture.import("a").await.retire();
        let said = imports(&fixture).pop().unwrap();
        assert_eq!(said.indexes[0].found, Err(reason));
        assert_eq!((said.no_index(), said.late), (Some(reason), false));
    }
    let build = Build::chain([layer(1, 10)]);
    build.export(&fixture.export("a")).await;
    fixture.import("a").await.retire();
    assert_eq!(imports(&fixture).pop().unwrap().no_index(), None);
}

#[tokio::test]
async fn an_import_that_came_too_late_says_so() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    (fixture.proxy).fail(&["/GetCacheEntryDownloadURL"], Fault::Hung);
    let attributes = fixture.attributes("a");
    let job = fixture
        .cache
        .import(&attributes, fixture.reporter())
        .unwrap();
    assert!(!job.ready(Instant::now()).await);
    job.retire();
    let said = imports(&fixture).pop().unwrap();
    assert_eq!((said.no_index(), said.late), (Some(NoIndex::Late), true));
}
