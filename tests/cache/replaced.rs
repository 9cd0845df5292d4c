//! What an export says of the index that its own takes the place of.

use buildkit_gha::cache::Outcome;
use http::StatusCode;

use crate::{
    bed::{Bed, Build, Speaks, index_key, layer},
    lossy::Fault,
};

/// More than all that are made of one read.
const RETRIES: usize = 100;

async fn one_that_cannot_be_read(speaks: Speaks) {
    let bed = Bed::new(speaks).await;
    let first = Build::chain([layer(1, 300 << 10)]);
    first.export(&bed.export("a")).await;
    // The layers are proven, so nothing but the index is read.
    for _ in 0..RETRIES {
        let gone = Fault::Refused(StatusCode::NOT_FOUND);
        bed.way.fail(&["GET /blobs/"], gone);
    }
    let outcome = first.export(&bed.export("a")).await;
    assert_eq!(
        outcome,
        Outcome::Written {
            key: index_key("a").entry(2),
            layers: 1,
            left_out: 0
        }
    );
    let warnings = bed.said.warnings();
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
    one_that_cannot_be_read(Speaks::V1).await;
}

#[tokio::test]
async fn one_that_cannot_be_read_is_followed_by_the_next_over_v2() {
    one_that_cannot_be_read(Speaks::V2).await;
}

/// The row or warning that says so.
fn said(bed: &Bed) -> (Vec<String>, Vec<String>) {
    let replaces = |all: Vec<String>| {
        let told = all.into_iter().filter(|text| text.contains("replaces"));
        told.collect::<Vec<_>>()
    };
    (replaces(bed.said.warnings()), replaces(bed.said.notes()))
}

#[tokio::test]
async fn one_that_another_export_has_written_meanwhile_is_a_warning() {
    let bed = Bed::new(Speaks::V2).await;
    let shared = layer(1, 300);
    let builds = [[2, 3], [4, 5]].map(|seeds| {
        let own = seeds.map(|seed| layer(seed, 100));
        Build::chain([shared.clone()].into_iter().chain(own))
    });
    // Both builds begin before one of them ends.
    let jobs = [bed.export("a"), bed.export("a")];
    for (build, job) in builds.iter().zip(&jobs) {
        let outcome = build.export(job).await;
        assert!(matches!(outcome, Outcome::Written { layers: 3, .. }));
    }
    let (warnings, notes) = said(&bed);
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
    let bed = Bed::new(Speaks::V1).await;
    for seed in [1, 2] {
        let build = Build::chain([layer(9, 300), layer(seed, 100)]);
        build.export(&bed.export("a")).await;
    }
    let (warnings, notes) = said(&bed);
    assert!(warnings.is_empty(), "{warnings:?}");
    let key = index_key("a").entry(1);
    let expected = format!("replaces the index {key}, 1 layer of it is not in this one");
    assert_eq!(notes, [expected]);
}
