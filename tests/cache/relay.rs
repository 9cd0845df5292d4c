//! What BuildKit's own exporter writes goes through byte for byte.

use std::time::Duration;

use buildkit_gha::{
    actions::Reserved,
    cache::{Relay, RelayError},
    digest::Digest,
    protocol::key,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use crate::{
    fixture::{ApiVersion, Build, Fixture, layer},
    import::{bytes, fetch},
    lossy::Fault,
};

fn body(content: &Bytes) -> stream::BoxStream<'static, std::io::Result<Bytes>> {
    stream::iter([content.slice(..1), content.slice(1..)])
        .map(Ok)
        .boxed()
}

async fn passes_entries_on(api_version: ApiVersion) {
    let fixture = Fixture::new(api_version).await;
    let relay = fixture
        .cache
        .relay(&fixture.attributes("a"), fixture.reporter())
        .unwrap();
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
    let read = fixture
        .client()
        .read_all(&entry, content.len() as u64)
        .await;
    assert_eq!(read.unwrap(), content);

    let again = relay.reserve("some-key#1", &version).await;
    assert!(matches!(again, Err(RelayError::Exists(_))), "{again:?}");
    assert!(matches!(
        relay.commit(id, 1).await,
        Err(RelayError::Unknown(_))
    ));
    drop(relay);
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn entries_pass_over_v1() {
    passes_entries_on(ApiVersion::V1).await;
}

#[tokio::test]
async fn entries_pass_over_v2() {
    passes_entries_on(ApiVersion::V2).await;
}

/// As BuildKit writes an entry; the error is that of its reservation.
async fn save(relay: &Relay, key: &str, content: &Bytes) -> Result<(), RelayError> {
    let id = relay.reserve(key, &key::version()).await?;
    relay.write(id, 0, body(content)).await.unwrap();
    relay.commit(id, content.len() as u64).await.unwrap();
    Ok(())
}

/// Long enough to be noticed.
const GRACE: Duration = Duration::from_millis(700);

async fn dead_reservations_are_stepped_over(api_version: ApiVersion) {
    let fixture = Fixture::with(api_version, |settings| settings.unfinished_grace = GRACE).await;
    let contents = [layer(1, 9 << 20), layer(2, 100), layer(3, 100)];
    let keys = contents
        .each_ref()
        .map(|content| key::BlobKey::new(Digest::sha256(content)));
    for dead in [keys[0].entry(0), keys[0].entry(1), keys[1].entry(0)] {
        let reserved = fixture.client().reserve(&dead, &key::version()).await;
        assert!(matches!(reserved, Ok(Reserved::Created(_))));
    }
    let relay = fixture
        .cache
        .relay(&fixture.attributes("a"), fixture.reporter())
        .unwrap();
    let begun = Instant::now();
    for (keys, content) in keys.iter().zip(&contents) {
        save(&relay, &keys.entry(0), content).await.unwrap();
    }
    save(&relay, "index-a#1", &layer(4, 10)).await.unwrap();
    assert!(begun.elapsed() >= GRACE, "their owners had no time");
    for (keys, (number, content)) in keys.iter().zip([2, 1, 0].iter().zip(&contents)) {
        let version = key::version();
        let entry = fixture
            .client()
            .lookup(&keys.entry(*number), &version)
            .await;
        let entry = entry.unwrap().expect("it is saved");
        let read = fixture
            .client()
            .read_all(&entry, content.len() as u64)
            .await;
        assert_eq!(read.unwrap(), content);
        // BuildKit asks for the plain key.
        let found = relay.lookup(&[&keys.entry(0)], &version).await.unwrap();
        assert_eq!(found.unwrap().key, keys.entry(*number));
    }
    assert!(
        fixture.messages.warnings().is_empty(),
        "{:?}",
        fixture.messages.warnings()
    );
    drop(relay);
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn dead_reservations_are_stepped_over_in_v1() {
    dead_reservations_are_stepped_over(ApiVersion::V1).await;
}

#[tokio::test]
async fn dead_reservations_are_stepped_over_in_v2() {
    dead_reservations_are_stepped_over(ApiVersion::V2).await;
}

#[tokio::test]
async fn no_index_is_reserved_while_a_layer_is_not_saved() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let content = layer(1, 100);
    let digest = Digest::sha256(&content);
    let refused = Fault::Refused(http::StatusCode::FORBIDDEN);
    fixture
        .proxy
        .fail(&["CreateCacheEntry", &digest.to_string()], refused);
    let relay = fixture
        .cache
        .relay(&fixture.attributes("a"), fixture.reporter())
        .unwrap();
    save(&relay, &key::blob(&digest), &content).await.unwrap();
    for _ in 0..2 {
        let error = save(&relay, "index-a#1", &layer(2, 10)).await.unwrap_err();
        assert!(matches!(error, RelayError::Layer { .. }), "{error}");
        assert!(error.to_string().contains(&digest.to_string()), "{error}");
    }
    assert!(!fixture.has("index-a#1").await);
    drop(relay);
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn a_layer_that_is_known_to_be_damaged_is_written_again() {
    let mut fixture = Fixture::new(ApiVersion::V1).await;
    let build = Build::chain([layer(1, 9 << 20)]);
    build.export(&fixture.export("a")).await;
    fixture.damage(&build.layers[0]);
    fixture.restart();
    let job = fixture.import("a").await;
    assert!(fetch(&job, build.digest(0)).await.is_err());
    let key = key::blob(&build.digest(0));
    let relay = fixture
        .cache
        .relay(&fixture.attributes("a"), fixture.reporter())
        .unwrap();
    let found = relay.lookup(&[&key], &key::version()).await.unwrap();
    assert!(found.is_none(), "{found:?}");
    save(&relay, &key, &build.layers[0]).await.unwrap();
    save(&relay, "index-b#1", &layer(2, 10)).await.unwrap();
    assert!(fixture.has(&format!("{key}#1")).await);
    let found = relay.lookup(&[&key], &key::version()).await.unwrap();
    assert_eq!(found.unwrap().key, format!("{key}#1"));
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let blob = fetch(&*fixture.import("a").await, build.digest(0))
        .await
        .unwrap();
    assert_eq!(bytes(&blob).await, build.layers[0]);
}

#[tokio::test]
async fn a_token_that_ends_before_the_export_has_to_is_said() {
    let fixture = Fixture::new(ApiVersion::V1).await;
    let mut spec = fixture.attributes("a");
    spec.token = fixture.brief.clone();
    let relay = fixture.cache.relay(&spec, fixture.reporter()).unwrap();
    for key in ["some-key", "another-key"] {
        save(&relay, key, &layer(1, 10)).await.unwrap();
    }
    let messages = fixture.messages.warnings();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains("the token expires at"), "{messages:?}");
}
