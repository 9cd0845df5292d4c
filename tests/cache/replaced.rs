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
