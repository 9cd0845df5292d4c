//! What BuildKit's own exporter writes goes through byte for byte.

use buildkit_gha::{cache::RelayError, protocol::key};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::bed::{Bed, Speaks, layer};

fn body(content: &Bytes) -> stream::BoxStream<'static, std::io::Result<Bytes>> {
    stream::iter([content.slice(..1), content.slice(1..)])
        .map(Ok)
        .boxed()
}

async fn passes_entries_on(speaks: Speaks) {
    let bed = Bed::new(speaks).await;
    let relay = bed.cache.relay(&bed.spec("a"), &bed.reporter()).unwrap();
    let content = layer(1, 9 << 20);
    let version = key::version();
    let id = relay.reserve("some-key#1", &version).await.unwrap();
    relay
        .write(id, 100, body(&content.slice(100..)))
        .await
        .unwrap();
    let early = relay.commit(id, content.len() as u64).await;
    assert!(
        matches!(early, Err(RelayError::Incomplete { written: 0, .. })),
        "{early:?}"
    );
    relay
        .write(id, 0, body(&content.slice(..100)))
        .await
        .unwrap();
    relay.commit(id, content.len() as u64).await.unwrap();

    let entry = relay
        .lookup(&["absent", "some-key#"], &version)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.key, "some-key#1");
    let read = bed.client().read_all(&entry, content.len() as u64).await;
    assert_eq!(read.unwrap(), content);

    let again = relay.reserve("some-key#1", &version).await;
    assert!(matches!(again, Err(RelayError::Exists(_))), "{again:?}");
    assert!(matches!(
        relay.commit(id, 1).await,
        Err(RelayError::Unknown(_))
    ));
    drop(relay);
    bed.is_at_rest().await;
}

#[tokio::test]
async fn entries_pass_over_v1() {
    passes_entries_on(Speaks::V1).await;
}

#[tokio::test]
async fn entries_pass_over_v2() {
    passes_entries_on(Speaks::V2).await;
}
