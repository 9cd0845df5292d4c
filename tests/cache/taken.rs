//! Keys that somebody has reserved and not filled.

use std::time::Duration;

use buildkit_gha::{
    actions::Reserved,
    cache::{Config, Event, Outcome},
    protocol::key,
};
use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    bed::{Bed, Build, Speaks, layer, layer_ref, open},
    import::{bytes, fetch},
};

/// Long enough to be noticed.
const GRACE: Duration = Duration::from_millis(700);

fn build() -> Build {
    Build::chain([layer(1, 300 << 10), layer(2, 100)])
}

fn graceful(settings: &mut Config) {
    settings.unfinished_grace = GRACE;
}

async fn is_stepped_over(speaks: Speaks) {
    let mut bed = Bed::with(speaks, graceful).await;
    let build = build();
    let keys = key::BlobKey::new(build.digest(0));
    for number in [0, 1] {
        let key = keys.entry(number);
        let reserved = bed.client().reserve(&key, &key::version()).await;
        assert!(matches!(reserved, Ok(Reserved::Created(_))));
    }
    let begun = Instant::now();
    let outcome = build.export(&bed.export("a")).await;
    assert!(
        matches!(outcome, Outcome::Written { left_out: 0, .. }),
        "{outcome:?}"
    );
    assert!(begun.elapsed() >= GRACE, "their owners had no time");
    assert!(bed.has(&keys.entry(2)).await);
    assert!(bed.said.warnings().is_empty(), "{:?}", bed.said.warnings());
    let waits = bed.said.waits();
    let others = waits.iter().filter(|row| row.contains("another job"));
    assert_eq!(others.count(), 1, "{waits:?}");

    // Another process finds it, and so does a lookup as stock makes it.
    bed.restart();
    let job = bed.import("a").await;
    let blob = fetch(&job, build.digest(0)).await.unwrap();
    assert_eq!(bytes(&blob).await, build.layers[0]);
    let stock = bed.client().lookup(&keys.entry(0), &key::version()).await;
    assert_eq!(stock.unwrap().unwrap().key, keys.entry(2));
}

#[tokio::test]
async fn what_nobody_finishes_is_stepped_over_in_v1() {
    is_stepped_over(Speaks::V1).await;
}

#[tokio::test]
async fn what_nobody_finishes_is_stepped_over_in_v2() {
    is_stepped_over(Speaks::V2).await;
}

#[tokio::test]
async fn an_owner_who_is_alive_is_waited_for() {
    let bed = Bed::new(Speaks::V2).await;
    let build = build();
    let keys = key::BlobKey::new(build.digest(0));
    let client = bed.client();
    let reserved = client.reserve(&keys.entry(0), &key::version()).await;
    let Ok(Reserved::Created(reservation)) = reserved else {
        panic!("{reserved:?}")
    };
    let job = bed.export("a");
    let content: Bytes = build.layers[0].clone();
    let owner = async {
        while !(bed.said.waits().iter()).any(|row| row.contains("another job")) {
            tokio::task::yield_now().await;
        }
        client.upload_bytes(&reservation, content).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(build.export(&job), owner);
    assert!(matches!(outcome, Outcome::Written { left_out: 0, .. }));
    assert!(!bed.has(&keys.entry(1)).await, "it is stored once");
}

/// This process knows that nobody will finish what it has given up itself.
#[tokio::test]
async fn a_reservation_of_our_own_is_stepped_over_at_once() {
    let bed = Bed::with(Speaks::V1, |settings| {
        settings.unfinished_grace = Duration::from_hours(1);
    })
    .await;
    let build = build();
    let keys = key::BlobKey::new(build.digest(0));
    let job = bed.export("a");
    let content = &build.layers[0];
    let mut writer = open(&job, &layer_ref(content), content.len())
        .await
        .unwrap()
        .unwrap();
    writer.write(content.slice(..10)).await.unwrap();
    // The transfer begins when the key is reserved.
    let begun = |event: &Event| matches!(event, Event::Transfer(_));
    while !bed.said.events().iter().any(begun) {
        tokio::task::yield_now().await;
    }
    drop((writer, job));
    bed.is_at_rest().await;

    let outcome = build.export(&bed.export("a")).await;
    assert!(matches!(outcome, Outcome::Written { left_out: 0, .. }));
    assert!(bed.has(&keys.entry(1)).await);
}
