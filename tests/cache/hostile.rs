//! A service that answers nonsense without end costs a build its cache, and nothing else.

use buildkit_gha::{
    actions::HttpConfig,
    cache::{Budgets, Outcome, PerMinute},
};
use tokio::time::Instant;

use crate::{
    bed::{Bed, Build, SOON, Speaks, layer},
    import::size,
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
    assert_eq!(size(&job, build.digest(0)).await, None);
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

/// The next minute's share comes after the export's time, so nobody waits for it; what is kept of
/// the budget is the index's.
#[tokio::test]
async fn what_no_budget_is_left_for_is_left_out_and_the_rest_is_indexed_at_once() {
    let mut http = HttpConfig::default();
    http.budgets = Budgets {
        creations: PerMinute::Calls(6),
        ..http.budgets
    };
    let bed = Bed::over(Speaks::V2, &http, |_| {}).await;
    // None stands upon another: which of them come too late is chance.
    let build = Build::apart((0..8).map(|seed| layer(seed, 100)));
    let begun = Instant::now();
    let outcome = build.export(&bed.export("a")).await;
    assert!(begun.elapsed() < SOON);
    let Outcome::Written {
        layers, left_out, ..
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    // One of the six calls was kept for the index.
    assert_eq!((layers, left_out), (5, 3));
    let said = bed.said.warnings();
    assert!(
        said[0].contains("takes 6 of these calls a minute"),
        "{said:?}"
    );
    bed.is_at_rest().await;
}
