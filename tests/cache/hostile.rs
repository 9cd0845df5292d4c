//! A service that answers nonsense without end costs a build its cache, and nothing else.

use buildkit_gha::cache::Outcome;

use crate::{
    bed::{Bed, Build, Speaks, layer},
    lossy::Fault,
};

/// More requests than one import and one export make.
const ALL: usize = 100;

async fn costs_the_cache_alone(speaks: Speaks) {
    let bed = Bed::new(speaks).await;
    let build = Build::chain([layer(1, 300 << 10), layer(2, 100)]);
    build.export(&bed.export("a")).await;
    for _ in 0..ALL {
        bed.way.fail(&[], Fault::Endless);
    }
    let job = bed.import("a").await;
    assert_eq!(job.promise(build.digest(0)).await, None);
    drop(job);
    let other = Build::chain([layer(3, 300 << 10), layer(4, 100)]);
    let outcome = other.export(&bed.export("a")).await;
    assert_eq!(outcome, Outcome::Nothing);
    let said = bed.said.warnings();
    assert_eq!(said.len(), 2, "{said:?}");
    for warning in said {
        assert!(warning.contains("more than 262144 bytes"), "{warning}");
    }
    assert!(bed.way.left() > 0);
    bed.is_at_rest().await;
}

#[tokio::test]
async fn floods_cost_the_cache_alone_over_v1() {
    costs_the_cache_alone(Speaks::V1).await;
}

#[tokio::test]
async fn floods_cost_the_cache_alone_over_v2() {
    costs_the_cache_alone(Speaks::V2).await;
}
