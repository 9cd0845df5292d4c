//! The room of the export spool.

use buildkit_gha::{
    cache::{Event, Outcome},
    content::Commit,
};
use tokio::time::timeout;

use crate::{
    bed::{Bed, Build, SOON, Speaks, layer, layer_ref, open, write},
    import::{bytes, fetch},
};

const MIB: usize = 1 << 20;

/// What the service has confirmed of a layer is given back before all of it has come.
async fn confirmed_parts_make_room(speaks: Speaks) {
    let mut bed = Bed::with(speaks, |settings| {
        settings.export_spool_bytes = 24 << 20;
    })
    .await;
    let build = Build::apart([layer(1, 20 * MIB), layer(2, 14 * MIB)]);
    let [large, other] = &build.layers[..] else {
        panic!("two layers")
    };
    let job = bed.export("a");
    let mut writer = open(&job, &layer_ref(large), large.len())
        .await
        .unwrap()
        .unwrap();
    writer.write(large.slice(..17 * MIB)).await.unwrap();
    let confirmed = async {
        let sent = |event: &Event| matches!(event, Event::Transfer(now) if now.current >= 16 << 20);
        while !bed.said.events().iter().any(sent) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, confirmed).await.expect("four parts are sent");
    assert!(write(&job, &layer_ref(other), other).await.unwrap());
    writer.write(large.slice(17 * MIB..)).await.unwrap();
    writer.commit(Commit::default()).await.unwrap();
    build.write_documents(&job).await.unwrap();
    let outcome = job.outcome();
    assert!(
        matches!(outcome, Outcome::Written { left_out: 0, .. }),
        "{outcome:?} {:?}",
        bed.said.warnings()
    );
    drop((writer, job));
    bed.is_at_rest().await;
    bed.restart();
    let job = bed.import("a").await;
    for at in 0..2 {
        let blob = fetch(&job, build.digest(at)).await.unwrap();
        assert_eq!(bytes(&blob).await, build.layers[at]);
    }
}

#[tokio::test]
async fn confirmed_parts_make_room_over_v1() {
    confirmed_parts_make_room(Speaks::V1).await;
}

#[tokio::test]
async fn confirmed_parts_make_room_over_v2() {
    confirmed_parts_make_room(Speaks::V2).await;
}
