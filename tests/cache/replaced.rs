//! What an export says of the index that its own takes the place of.

use buildkit_gha::cache::Outcome;
use http::StatusCode;

use crate::{
    fixture::{ApiVersion, Build, Fixture, index_key, layer},
    lossy::Fault,
};

/// More than all that are made of one read.
const RETRIES: usize = 100;

async fn one_that_cannot_be_read(api_version: ApiVersion) {
    let fixture = Fixture::new(api_version).await;
    let first = Build::chain([layer(1, 300 << 10)]);
    first.export(&fixture.export("a")).await;
    // The layers are proven, so nothing but the index is read.
    for _ in 0..RETRIES {
        let gone = Fault::Refused(StatusCode::NOT_FOUND);
        fixture.proxy.fail(&["GET /blobs/"], gone);
    }
    let outcome = first.export(&fixture.export("a")).await;
    assert_eq!(
        outcome,
        Outcome::Written {
            key: index_key("a").entry(2),
            layers: 1,
            left_out: 0
        }
    );
    let warnings = fixture.messages.warnings();
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert!(
        warning.contains(&index_key("a").entry(1)) && warning.contains("could not be read"),
        "{warning}"
    );
}

#[tokio::test]
async fn one_that_cannot_be_read_is_followed_by_the_next_over_v1() {
    one_that_cannot_be_read(ApiVersion::V1).await;
}

#[tokio::test]
async fn one_that_cannot_be_read_is_followed_by_the_next_over_v2() {
    one_that_cannot_be_read(ApiVersion::V2).await;
}

/// The row or warning that says so.
fn messages(fixture: &Fixture) -> (Vec<String>, Vec<String>) {
    let replaces = |all: Vec<String>| {
        let told = all.into_iter().filter(|text| text.contains("replaces"));
        told.collect::<Vec<_>>()
    };
    (
        replaces(fixture.messages.warnings()),
        replaces(fixture.messages.notes()),
    )
}

#[tokio::test]
async fn one_that_another_export_has_written_meanwhile_is_a_warning() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let shared = layer(1, 300);
    let builds = [[2, 3], [4, 5]].map(|seeds| {
        let own = seeds.map(|seed| layer(seed, 100));
        Build::chain([shared.clone()].into_iter().chain(own))
    });
    // Both builds begin before one of them ends.
    let jobs = [fixture.export("a"), fixture.export("a")];
    for (build, job) in builds.iter().zip(&jobs) {
        let outcome = build.export(job).await;
        assert!(matches!(outcome, Outcome::Written { layers: 3, .. }));
    }
    let (warnings, notes) = messages(&fixture);
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    let key = index_key("a").entry(1);
    let expected = format!("replaces the index {key}, 2 layers of it are not in this one");
    assert!(warning.contains(&expected), "{warning}");
    assert!(notes.is_empty(), "{notes:?}");
}

#[tokio::test]
async fn one_of_an_earlier_build_is_a_row() {
    let fixture = Fixture::new(ApiVersion::V1).await;
    for seed in [1, 2] {
        let build = Build::chain([layer(9, 300), layer(seed, 100)]);
        build.export(&fixture.export("a")).await;
    }
    let (warnings, notes) = messages(&fixture);
    assert!(warnings.is_empty(), "{warnings:?}");
    let key = index_key("a").entry(1);
    let expected = format!("replaces the index {key}, 1 layer of it is not in this one");
    assert_eq!(notes, [expected]);
}
