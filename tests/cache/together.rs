//! Exports at the same time: they share uploads, outlive each other, and both write their index.

use std::time::Duration;

use buildkit_gha::{
    cache::{Outcome, attributes::Attributes, index_format},
    content::Commit,
    protocol::key,
};
use bytes::Bytes;

use crate::{
    fixture::{ApiVersion, Build, Fixture, layer, layer_ref, open, write},
    lossy::Fault,
};

#[tokio::test]
async fn two_exports_share_the_upload_of_one_layer() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let build = Build::chain([layer(1, 9 << 20)]);
    let content = &build.layers[0];
    let (one, two) = (fixture.export("a"), fixture.export("b"));
    let mut first = open(&one, &layer_ref(content), content.len())
        .await
        .unwrap()
        .unwrap();
    first.write(content.slice(..100)).await.unwrap();
    // The second export writes the same layer while the first is in the middle of it.
    assert!(write(&two, &layer_ref(content), content).await.unwrap());
    first.write(content.slice(100..)).await.unwrap();
    first.commit(Commit::default()).await.unwrap();
    // The first is over before the second asks what became of the layer.
    build.write_documents(&one).await.unwrap();
    build.write_documents(&two).await.unwrap();
    for job in [&one, &two] {
        assert!(matches!(
            job.outcome(),
            Outcome::Written {
                layers: 1,
                left_out: 0,
                ..
            }
        ));
    }
    assert!(fixture.messages.warnings().is_empty());
    fixture.is_at_rest().await;
}

/// The first client is killed in the middle of a layer that the second one writes too.
#[tokio::test]
async fn a_layer_goes_on_when_its_first_writer_leaves() {
    for second_is_ahead in [false, true] {
        let fixture = Fixture::new(ApiVersion::V2).await;
        let build = Build::chain([layer(1, 9 << 20), layer(2, 300)]);
        let content = &build.layers[0];
        let (one, two) = (fixture.export("a"), fixture.export("b"));
        let reference = layer_ref(content);
        let mut first = open(&one, &reference, content.len())
            .await
            .unwrap()
            .unwrap();
        first.write(content.slice(..5 << 20)).await.unwrap();
        let mut second = open(&two, &reference, content.len())
            .await
            .unwrap()
            .unwrap();
        let at = if second_is_ahead { 7 << 20 } else { 3 << 20 };
        second.write(content.slice(..at)).await.unwrap();
        drop((first, one));
        second.write(content.slice(at..)).await.unwrap();
        second.commit(Commit::default()).await.unwrap();
        write(&two, &layer_ref(&build.layers[1]), &build.layers[1])
            .await
            .unwrap();
        build.write_documents(&two).await.unwrap();
        assert!(
            matches!(two.outcome(), Outcome::Written { left_out: 0, .. }),
            "{:?}",
            two.outcome()
        );
        assert!(
            fixture.messages.warnings().is_empty(),
            "{:?}",
            fixture.messages.warnings()
        );
        assert_eq!(
            stored(&fixture, &key::blob(&build.digest(0))).await,
            content
        );
        drop((second, two));
        fixture.is_at_rest().await;
    }
}

/// One of two writers has other bytes: it fails, and nothing wrong is saved.
#[tokio::test]
async fn a_writer_with_other_bytes_fails_alone() {
    let fixture = Fixture::new(ApiVersion::V1).await;
    let build = Build::chain([layer(1, 2 << 20)]);
    let content = &build.layers[0];
    let (one, two) = (fixture.export("a"), fixture.export("b"));
    let reference = layer_ref(content);
    let mut first = open(&one, &reference, content.len())
        .await
        .unwrap()
        .unwrap();
    first.write(content.slice(..1 << 20)).await.unwrap();
    let mut wrong = content.to_vec();
    wrong[7] ^= 1;
    write(&two, &reference, &wrong).await.unwrap_err();
    first.write(content.slice(1 << 20..)).await.unwrap();
    first.commit(Commit::default()).await.unwrap();
    build.write_documents(&one).await.unwrap();
    assert!(matches!(
        one.outcome(),
        Outcome::Written { left_out: 0, .. }
    ));
    assert_eq!(
        stored(&fixture, &key::blob(&build.digest(0))).await,
        content
    );
    drop((first, one, two));
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn two_exports_to_one_scope_both_write_a_whole_index() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let shared = layer(1, 300 << 10);
    let builds = [2, 3].map(|seed| Build::chain([shared.clone(), layer(seed, 100)]));
    let (one, two) = (fixture.export("a"), fixture.export("a"));
    let both = tokio::join!(builds[0].export(&one), builds[1].export(&two));
    let mut written = Vec::new();
    for outcome in [both.0, both.1] {
        let Outcome::Written {
            key, left_out: 0, ..
        } = outcome
        else {
            panic!("{outcome:?}")
        };
        let index = index_format::parse(&stored(&fixture, &key).await).unwrap();
        for layer in &index.layers {
            assert!(fixture.has(&key::blob(&layer.blob)).await);
        }
        written.push(key);
    }
    assert_ne!(written[0], written[1]);
    let warnings = fixture.messages.warnings();
    let replaces = |warning: &String| warning.contains("replaces the index");
    assert!(warnings.iter().all(replaces), "{warnings:?}");
}

/// The first export has little time, and the second one enough for the layer that both write.
#[tokio::test]
async fn a_shared_upload_has_the_time_of_the_export_that_has_most() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let build = Build::chain([layer(1, 300 << 10)]);
    let content = &build.layers[0];
    let [one, two] = [6, 600].map(|seconds| {
        let spec = Attributes {
            timeout: Duration::from_secs(seconds),
            ..fixture.attributes(&format!("{seconds}"))
        };
        fixture.cache.export(&spec, fixture.reporter()).unwrap()
    });
    let reference = layer_ref(content);
    let mut first = open(&one, &reference, content.len())
        .await
        .unwrap()
        .unwrap();
    first.write(content.slice(..100)).await.unwrap();
    let mut second = open(&two, &reference, content.len())
        .await
        .unwrap()
        .unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(7)).await;
    // Whoever waits for the time to be over gets its turn.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
    second.write(content.clone()).await.unwrap();
    second.commit(Commit::default()).await.unwrap();
    build.write_documents(&two).await.unwrap();
    let outcome = two.outcome();
    assert!(
        matches!(outcome, Outcome::Written { left_out: 0, .. }),
        "{outcome:?} {:?}",
        fixture.messages.warnings()
    );
    drop((first, one));
}

#[tokio::test]
async fn a_layer_that_comes_too_late_is_told_with_its_limit() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    fixture
        .proxy
        .fail_always(&["CreateCacheEntry"], Fault::Hung);
    let spec = Attributes {
        timeout: Duration::from_secs(1),
        ..fixture.attributes("late")
    };
    let export = fixture.cache.export(&spec, fixture.reporter()).unwrap();
    let build = Build::chain([layer(1, 300)]);
    assert_eq!(build.export(&export).await, Outcome::Nothing);
    let [warning] = &fixture.messages.warnings()[..] else {
        panic!("{:?}", fixture.messages.warnings())
    };
    for words in ["time was over", "a longer timeout=", "this export is 1s"] {
        assert!(warning.contains(words), "{words}: {warning}");
    }
}

async fn stored(fixture: &Fixture, key: &str) -> Bytes {
    let client = fixture.client();
    let entry = client.lookup(key, &key::version()).await.unwrap().unwrap();
    assert_eq!(entry.key, key);
    client.read_all(&entry, 16 << 20).await.unwrap()
}
