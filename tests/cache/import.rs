//! What an import confirms and serves, and what it never does.

use std::time::Duration;

use buildkit_gha::{
    cache::{
        Blob, ContentImport, Event, FetchError, ImportJob, TransferKey, TransferState,
        attributes::{Attributes, Verify},
    },
    content::Host as _,
    digest::Digest,
    protocol::key,
};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tokio::time::Instant;

use crate::{
    fixture::{ApiVersion, Build, Fixture, index_key, layer},
    lossy::Fault,
};

const LARGE: usize = 9 << 20;

fn build() -> Build {
    Build::chain([layer(1, LARGE), layer(2, 300 << 10), layer(3, 100)])
}

/// The size of a layer that an import confirms; `None` is a miss.
pub async fn size(job: &ImportJob, digest: Digest) -> Option<u64> {
    Some(job.confirm(digest).await?.size())
}

/// Confirms and opens a layer, as buildkitd has it done.
pub async fn fetch(job: &ImportJob, digest: Digest) -> Result<Blob, FetchError> {
    let layer = job.confirm(digest).await;
    layer.ok_or(FetchError::NotFound(digest))?.open().await
}

pub async fn bytes(blob: &Blob) -> Bytes {
    let pieces: Vec<Bytes> = blob.read(0..u64::MAX).try_collect().await.unwrap();
    pieces.concat().into()
}

async fn gives_back_what_was_exported(api_version: ApiVersion) {
    let mut fixture = Fixture::new(api_version).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let job = fixture.import("a").await;
    let index = job.index(index_key("a").base()).unwrap();
    assert_eq!(index.key, index_key("a").entry(1));
    assert_eq!(index.raw, build.index.to_json());
    for (at, content) in build.layers.iter().enumerate() {
        let digest = build.digest(at);
        assert_eq!(size(&job, digest).await, Some(content.len() as u64));
        let blob = fetch(&job, digest).await.unwrap();
        assert_eq!(bytes(&blob).await, content);
    }
    let blob = fetch(&job, build.digest(0)).await.unwrap();
    let part: Vec<Bytes> = blob.read(5..9).try_collect().await.unwrap();
    assert_eq!(part.concat(), build.layers[0][5..9]);
    assert!(
        fixture.messages.warnings().is_empty(),
        "{:?}",
        fixture.messages.warnings()
    );
    drop((blob, job));
    fixture.is_at_rest().await;
}

#[tokio::test]
async fn an_import_gives_back_what_was_exported_over_v1() {
    gives_back_what_was_exported(ApiVersion::V1).await;
}

#[tokio::test]
async fn an_import_gives_back_what_was_exported_over_v2() {
    gives_back_what_was_exported(ApiVersion::V2).await;
}

#[tokio::test]
async fn a_confirmed_layer_is_proven_for_the_next_export() {
    let mut fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let job = fixture.import("a").await;
    job.confirm(build.digest(0)).await.unwrap();
    let content = &build.layers[0];
    let export = fixture.export("a");
    let known = crate::fixture::open(&export, &crate::fixture::layer_ref(content), content.len())
        .await
        .unwrap();
    assert!(known.is_none());
}

/// A handle may outlive its build by hours on a busy daemon.
#[tokio::test]
async fn an_ended_build_keeps_no_content_and_still_serves_its_layers() {
    let mut fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let job = fixture.import("a").await;
    for at in 0..3 {
        job.confirm(build.digest(at)).await.unwrap();
    }
    let reads = fixture.proxy.count("GET /blobs/");
    job.retire();
    assert!(job.index(index_key("a").base()).is_none());
    // The smallest was read with the look at it, and is read again.
    for at in [2, 2, 0] {
        let blob = fetch(&job, build.digest(at)).await.unwrap();
        assert_eq!(bytes(&blob).await, build.layers[at]);
    }
    assert!(fixture.proxy.count("GET /blobs/") > reads + 2);
}

/// `timeout` is for calls that fail. A layer that was confirmed is fetched for as long as it moves:
/// BuildKit fails the build that does not get it.
#[tokio::test]
async fn a_fetch_may_take_longer_than_the_timeout() {
    let mut fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let mut spec = fixture.attributes("a");
    spec.timeout = Duration::from_secs(1);
    let job = fixture.import_as(&spec).await;
    let digest = build.digest(0);
    job.confirm(digest).await.unwrap();
    fixture
        .proxy
        .fail(&["GET /blobs/"], Fault::Slow(2 * spec.timeout));
    let blob = fetch(&job, digest).await.unwrap();
    assert_eq!(bytes(&blob).await, build.layers[0]);
    assert_eq!(fixture.proxy.left(), 0);
}

#[tokio::test]
async fn one_download_serves_all_who_ask_meanwhile() {
    let mut fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let (one, two) = (fixture.import("a").await, fixture.import("a").await);
    let digest = build.digest(0);
    let (first, second) = tokio::join!(fetch(&one, digest), fetch(&two, digest));
    let (first, second) = (first.unwrap(), second.unwrap());
    // And those who ask while it is still held.
    let third = fetch(&two, digest).await.unwrap();
    for blob in [&first, &second, &third] {
        assert_eq!(bytes(blob).await, build.layers[0]);
    }
    let begun = fixture.messages.events().into_iter().filter(|event| {
        matches!(event, Event::Transfer(t) if matches!(t.key, TransferKey::Download(_))
            && t.current == 0 && t.state == TransferState::Running)
    });
    assert_eq!(begun.count(), 1);
}

#[tokio::test]
async fn an_evicted_layer_is_a_miss_and_a_warning() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    // The index is all that is left.
    fixture
        .put(&index_key("a").entry(1), build.index.to_json())
        .await;
    let job = fixture.import("a").await;
    assert_eq!(size(&job, build.digest(0)).await, None);
    assert!(matches!(
        fetch(&job, build.digest(0)).await,
        Err(FetchError::NotFound(_))
    ));
    assert!(fixture.messages.warnings()[0].contains("evicted"));
    // What no index names is not even looked for.
    assert_eq!(size(&job, Digest::sha256("other")).await, None);
    assert_eq!(fixture.messages.warnings().len(), 1);
}

#[tokio::test]
async fn an_index_that_is_not_valid_is_a_miss_and_a_warning() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let cycle = br#"{"records":[{"digest":"a","inputs":[[{"link":0}]]}]}"#;
    for (scope, content) in [("text", &b"not JSON"[..]), ("cycle", cycle)] {
        let before = fixture.messages.warnings().len();
        fixture
            .put(&index_key(scope).entry(1), content.to_vec())
            .await;
        let job = fixture.import(scope).await;
        assert!(job.index(index_key(scope).base()).is_none());
        assert_eq!(fixture.messages.warnings().len(), before + 1, "{scope}");
    }
}

/// Go reads names without regard to case, and takes what another reader overlooks.
#[tokio::test]
async fn buildkitd_gets_what_was_checked_and_nothing_else() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let written = String::from_utf8(build().index.to_json()).unwrap();
    let unchanged = written.clone();
    let hidden = written.replacen('{', r#"{"Records":[{},{},{}],"more":[1,2],"#, 1);
    for (scope, stored, served) in [
        ("plain", written.clone(), unchanged),
        ("hidden", hidden, written),
    ] {
        fixture
            .put(&index_key(scope).entry(1), stored.into_bytes())
            .await;
        let job = fixture.import(scope).await;
        let index = job.index(index_key(scope).base()).unwrap();
        assert_eq!(String::from_utf8(index.raw.to_vec()).unwrap(), served);
    }
    assert!(
        fixture.messages.warnings().is_empty(),
        "{:?}",
        fixture.messages.warnings()
    );
}

#[tokio::test]
async fn an_index_that_would_sink_buildkitd_is_a_miss_and_a_warning() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let mut index = build().index;
    let record = index.records[0].clone();
    index.records = vec![record; 300_000];
    fixture.put(&index_key("a").entry(1), index.to_json()).await;
    let job = fixture.import("a").await;
    assert!(job.index(index_key("a").base()).is_none());
    let messages = fixture.messages.warnings();
    assert!(messages[0].contains("MB of memory"), "{messages:?}");
}

/// The blob is what its digest says, and buildkitd unpacks it without comparing.
#[tokio::test]
async fn full_verification_unpacks_a_layer() {
    let mut fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    let mut index = build.index.clone();
    for layer in &mut index.layers {
        let annotations = layer.annotations.as_mut().unwrap();
        annotations.diff_id = Some(Digest::sha256("something else"));
    }
    fixture.put(&index_key("a").entry(2), index.to_json()).await;
    fixture.restart();
    for (verify, expected) in [
        (Verify::Probe, Some(build.layers[0].len() as u64)),
        (Verify::Full, None),
    ] {
        let spec = Attributes {
            import_verify: verify,
            ..fixture.attributes("a")
        };
        let job = fixture.cache.import(&spec, fixture.reporter()).unwrap();
        assert!(job.ready(Instant::now() + Duration::from_secs(20)).await);
        assert_eq!(size(&job, build.digest(0)).await, expected, "{verify:?}");
    }
    let messages = fixture.messages.warnings();
    assert!(messages[0].contains("and the index says"), "{messages:?}");
}

#[tokio::test]
async fn no_index_is_a_silent_miss() {
    let fixture = Fixture::new(ApiVersion::V1).await;
    let job = fixture.import("none").await;
    assert!(job.index(index_key("none").base()).is_none());
    assert!(fixture.messages.warnings().is_empty());
}

#[tokio::test]
async fn an_index_that_loads_is_no_answer_yet() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    build().export(&fixture.export("a")).await;
    let job = fixture
        .cache
        .import(&fixture.attributes("a"), fixture.reporter())
        .unwrap();
    assert!(job.index(index_key("a").base()).is_none());
    assert!(!job.ready(Instant::now()).await);
    assert!(job.ready(Instant::now() + Duration::from_secs(20)).await);
    assert!(job.index(index_key("a").base()).is_some());
}

#[tokio::test]
async fn a_signature_is_loaded_beside_its_index() {
    let fixture = Fixture::with(ApiVersion::V1, |settings| settings.signed = true).await;
    let index = build().index.to_json();
    let signed = key::IndexKey::new("a", crate::fixture::BRANCH, true);
    fixture.put(&signed.entry(1), index.clone()).await;
    let name = format!("{}-sig", key::blob(&Digest::sha256(&index)));
    fixture.put(&name, "bundle").await;
    let job = fixture.import("a").await;
    assert_eq!(job.index(signed.base()).unwrap().raw, index);
    assert_eq!(job.signature(&name).unwrap(), "bundle");
}

#[tokio::test]
async fn the_content_host_offers_what_is_there() {
    let mut fixture = Fixture::new(ApiVersion::V2).await;
    let build = build();
    build.export(&fixture.export("a")).await;
    fixture.restart();
    let host = ContentImport::new(&*fixture.import("a").await).await;
    let [manifest] = host.manifests() else {
        panic!("one index, one manifest")
    };
    let info = host.info(*manifest).await.unwrap();
    let read = host.read(*manifest, 0..info.size).await.unwrap();
    let pieces: Vec<Bytes> = read.try_collect().await.unwrap();
    assert_eq!(Digest::sha256(pieces.concat()), *manifest);

    let digest = build.digest(1);
    let size = host.info(digest).await.unwrap().size;
    let read = host.read(digest, 1..size).await.unwrap();
    let pieces: Vec<Bytes> = read.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), build.layers[1][1..]);
    assert!(host.info(Digest::sha256("other")).await.is_err());
}
