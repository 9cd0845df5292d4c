//! Answers that were lost cost a moment and nothing else.

use std::time::Duration;

use buildkit_gha::{cache::Outcome, protocol::key};
use http::StatusCode;

use crate::{
    bed::{Bed, Build, Speaks, index_key, layer},
    import::{bytes, fetch},
    lossy::Fault,
};

/// Two layers of two parts each, and a small one.
fn build() -> Build {
    Build::chain([layer(1, 9 << 20), layer(2, 9 << 20), layer(3, 100)])
}

const CREATE: &str = "/CreateCacheEntry";

/// Exports with these faults on the way; everything must be there in the end.
async fn survives(speaks: Speaks, faults: &[(&[&str], Fault)]) -> Bed {
    // Nobody may be waited for, so a wait for ourselves would show.
    let mut bed = Bed::with(speaks, |settings| {
        settings.unfinished_grace = Duration::from_hours(1);
    })
    .await;
    for (mark, fault) in faults {
        bed.way.fail(mark, *fault);
    }
    let build = build();
    let outcome = build.export(&bed.export("a")).await;
    assert_eq!(bed.way.left(), 0, "all faults have happened");
    assert!(
        matches!(outcome, Outcome::Written { left_out: 0, .. }),
        "{faults:?}: {outcome:?} {:?}",
        bed.said.warnings()
    );
    assert!(bed.said.warnings().is_empty(), "{:?}", bed.said.warnings());
    bed.restart();
    let job = bed.import("a").await;
    for (at, content) in build.layers.iter().enumerate() {
        let blob = fetch(&job, build.digest(at)).await.unwrap();
        assert_eq!(bytes(&blob).await, content);
    }
    drop(job);
    bed.is_at_rest().await;
    bed
}

#[tokio::test]
async fn over_v1_every_answer_of_an_export_may_be_lost() {
    let digest = build().digest(0).to_string();
    let faults: [(&[&str], Fault); 4] = [
        (&["/caches", "{\"key\"", &digest], Fault::Lost),
        (&["PATCH "], Fault::Lost),
        (&["POST ", "{\"size\":9437184}"], Fault::Lost),
        (&["POST ", "{\"key\"", "\"index-"], Fault::Lost),
    ];
    let bed = survives(Speaks::V1, &faults).await;
    // Stepped over: nobody can fill what we do not know the id of.
    let keys = key::BlobKey::new(build().digest(0));
    assert!(bed.has(&keys.entry(1)).await && !bed.has(&keys.entry(0)).await);
    assert_eq!(bed.index("a").await.unwrap().0, index_key("a").entry(2));
}

#[tokio::test]
async fn over_v2_every_answer_of_an_export_may_be_lost() {
    let digest = build().digest(0).to_string();
    let faults: [(&[&str], Fault); 6] = [
        (&[CREATE, &digest], Fault::Lost),
        (&["comp=block&"], Fault::Lost),
        (&["comp=blocklist"], Fault::Lost),
        (&["/FinalizeCacheEntryUpload", &digest], Fault::Lost),
        (&[CREATE, "\"index-"], Fault::Lost),
        (&["/FinalizeCacheEntryUpload", "\"index-"], Fault::Lost),
    ];
    let bed = survives(Speaks::V2, &faults).await;
    let keys = key::BlobKey::new(build().digest(0));
    assert!(bed.has(&keys.entry(1)).await && !bed.has(&keys.entry(0)).await);
    assert_eq!(bed.index("a").await.unwrap().0, index_key("a").entry(2));
}

#[tokio::test]
async fn an_upload_url_that_expires_in_the_middle_is_another_key() {
    let refused = Fault::Refused(StatusCode::FORBIDDEN);
    let faults: [(&[&str], Fault); 1] = [(&["comp=blocklist"], refused)];
    let bed = survives(Speaks::V2, &faults).await;
    let mut moved = 0;
    for at in 0..2 {
        let key = key::BlobKey::new(build().digest(at)).entry(1);
        moved += u32::from(bed.has(&key).await);
    }
    assert_eq!(moved, 1);
}
