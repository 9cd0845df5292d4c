//! What an import promises and serves, and what it never does.

use std::time::Duration;

use buildkit_gha::{
    cache::{
        Blob, ContentImport, Event, FetchError, ImportJob, TransferState,
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
    bed::{Bed, Build, Speaks, index_key, layer},
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

async fn gives_back_what_was_exported(speaks: Speaks) {
    let mut bed = Bed::new(speaks).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    let job = bed.import("a").await;
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
    assert!(bed.said.warnings().is_empty(), "{:?}", bed.said.warnings());
    drop((blob, job));
    bed.is_at_rest().await;
}

#[tokio::test]
async fn an_import_gives_back_what_was_exported_over_v1() {
    gives_back_what_was_exported(Speaks::V1).await;
}

#[tokio::test]
async fn an_import_gives_back_what_was_exported_over_v2() {
    gives_back_what_was_exported(Speaks::V2).await;
}

#[tokio::test]
async fn a_promise_proves_the_layer_for_the_next_export() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    let job = bed.import("a").await;
    job.confirm(build.digest(0)).await.unwrap();
    let content = &build.layers[0];
    let export = bed.export("a");
    let known = crate::bed::open(&export, &crate::bed::layer_ref(content), content.len())
        .await
        .unwrap();
    assert!(known.is_none());
}

/// A handle may outlive its build by hours on a busy daemon.
#[tokio::test]
async fn an_ended_build_keeps_no_content_and_still_serves_its_layers() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    let job = bed.import("a").await;
    for at in 0..3 {
        job.confirm(build.digest(at)).await.unwrap();
    }
    let reads = bed.way.count("GET /blobs/");
    job.retire();
    assert!(job.index(index_key("a").base()).is_none());
    // The smallest was read with the look at it, and is read again.
    for at in [2, 2, 0] {
        let blob = fetch(&job, build.digest(at)).await.unwrap();
        assert_eq!(bytes(&blob).await, build.layers[at]);
    }
    assert!(bed.way.count("GET /blobs/") > reads + 2);
}

/// `timeout` is for calls that fail. A layer that was promised is fetched for as long as it moves:
/// BuildKit fails the build that does not get it.
#[tokio::test]
async fn a_fetch_may_take_longer_than_the_timeout() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    let mut spec = bed.spec("a");
    spec.timeout = Duration::from_secs(1);
    let job = bed.import_as(&spec).await;
    let digest = build.digest(0);
    job.confirm(digest).await.unwrap();
    bed.way
        .fail(&["GET /blobs/"], Fault::Slow(2 * spec.timeout));
    let blob = fetch(&job, digest).await.unwrap();
    assert_eq!(bytes(&blob).await, build.layers[0]);
    assert_eq!(bed.way.left(), 0);
}

#[tokio::test]
async fn one_download_serves_all_who_ask_meanwhile() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    let (one, two) = (bed.import("a").await, bed.import("a").await);
    let digest = build.digest(0);
    let (first, second) = tokio::join!(fetch(&one, digest), fetch(&two, digest));
    let (first, second) = (first.unwrap(), second.unwrap());
    // And those who ask while it is still held.
    let third = fetch(&two, digest).await.unwrap();
    for blob in [&first, &second, &third] {
        assert_eq!(bytes(blob).await, build.layers[0]);
    }
    let begun = bed.said.events().into_iter().filter(|event| {
        matches!(event, Event::Transfer(t) if t.name.starts_with("fetching")
            && t.current == 0 && t.state == TransferState::Running)
    });
    assert_eq!(begun.count(), 1);
}

#[tokio::test]
async fn an_evicted_layer_is_a_miss_and_a_warning() {
    let bed = Bed::new(Speaks::V2).await;
    let build = build();
    // The index is all that is left.
    bed.put(&index_key("a").entry(1), build.index.to_json())
        .await;
    let job = bed.import("a").await;
    assert_eq!(size(&job, build.digest(0)).await, None);
    assert!(matches!(
        fetch(&job, build.digest(0)).await,
        Err(FetchError::NotFound(_))
    ));
    assert!(bed.said.warnings()[0].contains("evicted"));
    // What no index names is not even looked for.
    assert_eq!(size(&job, Digest::of("other")).await, None);
    assert_eq!(bed.said.warnings().len(), 1);
}

#[tokio::test]
async fn an_index_that_is_not_valid_is_a_miss_and_a_warning() {
    let bed = Bed::new(Speaks::V2).await;
    let cycle = br#"{"records":[{"digest":"a","inputs":[[{"link":0}]]}]}"#;
    for (scope, content) in [("text", &b"not JSON"[..]), ("cycle", cycle)] {
        let before = bed.said.warnings().len();
        bed.put(&index_key(scope).entry(1), content.to_vec()).await;
        let job = bed.import(scope).await;
        assert!(job.index(index_key(scope).base()).is_none());
        assert_eq!(bed.said.warnings().len(), before + 1, "{scope}");
    }
}

/// Go reads names without regard to case, and takes what another reader overlooks.
#[tokio::test]
async fn buildkitd_gets_what_was_checked_and_nothing_else() {
    let bed = Bed::new(Speaks::V2).await;
    let written = String::from_utf8(build().index.to_json()).unwrap();
    let unchanged = written.clone();
    let hidden = written.replacen('{', r#"{"Records":[{},{},{}],"more":[1,2],"#, 1);
    for (scope, stored, served) in [
        ("plain", written.clone(), unchanged),
        ("hidden", hidden, written),
    ] {
        bed.put(&index_key(scope).entry(1), stored.into_bytes())
            .await;
        let job = bed.import(scope).await;
        let index = job.index(index_key(scope).base()).unwrap();
        assert_eq!(String::from_utf8(index.raw.to_vec()).unwrap(), served);
    }
    assert!(bed.said.warnings().is_empty(), "{:?}", bed.said.warnings());
}

#[tokio::test]
async fn an_index_that_would_sink_buildkitd_is_a_miss_and_a_warning() {
    let bed = Bed::new(Speaks::V2).await;
    let mut index = build().index;
    let record = index.records[0].clone();
    index.records = vec![record; 300_000];
    bed.put(&index_key("a").entry(1), index.to_json()).await;
    let job = bed.import("a").await;
    assert!(job.index(index_key("a").base()).is_none());
    let said = bed.said.warnings();
    assert!(said[0].contains("MB of memory"), "{said:?}");
}

/// The blob is what its digest says, and buildkitd unpacks it without comparing.
#[tokio::test]
async fn full_verification_unpacks_a_layer() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build();
    build.export(&bed.export("a")).await;
    let mut index = build.index.clone();
    for layer in &mut index.layers {
        let annotations = layer.annotations.as_mut().unwrap();
        annotations.diff_id = Some(Digest::of("something else"));
    }
    bed.put(&index_key("a").entry(2), index.to_json()).await;
    bed.restart();
    for (verify, expected) in [
        (Verify::Probe, Some(build.layers[0].len() as u64)),
        (Verify::Full, None),
    ] {
        let spec = Attributes {
            import_verify: verify,
            ..bed.spec("a")
        };
        let job = bed.cache.import(&spec, bed.reporter()).unwrap();
        assert!(job.ready(Instant::now() + Duration::from_secs(20)).await);
        assert_eq!(size(&job, build.digest(0)).await, expected, "{verify:?}");
    }
    let said = bed.said.warnings();
    assert!(said[0].contains("and the index says"), "{said:?}");
}

#[tokio::test]
async fn no_index_is_a_silent_miss() {
    let bed = Bed::new(Speaks::V1).await;
    let job = bed.import("none").await;
    assert!(job.index(index_key("none").base()).is_none());
    assert!(bed.said.warnings().is_empty());
}

#[tokio::test]
async fn an_index_that_loads_is_no_answer_yet() {
    let bed = Bed::new(Speaks::V2).await;
    build().export(&bed.export("a")).await;
    let job = bed.cache.import(&bed.spec("a"), bed.reporter()).unwrap();
    assert!(job.index(index_key("a").base()).is_none());
    assert!(!job.ready(Instant::now()).await);
    assert!(job.ready(Instant::now() + Duration::from_secs(20)).await);
    assert!(job.index(index_key("a").base()).is_some());
}

#[tokio::test]
async fn a_signature_is_loaded_beside_its_index() {
    let bed = Bed::with(Speaks::V1, |settings| settings.signed = true).await;
    let index = build().index.to_json();
    let signed = key::IndexKey::new("a", crate::bed::BRANCH, true);
    bed.put(&signed.entry(1), index.clone()).await;
    let name = format!("{}-sig", key::blob(&Digest::of(&index)));
    bed.put(&name, "bundle").await;
    let job = bed.import("a").await;
    assert_eq!(job.index(signed.base()).unwrap().raw, index);
    assert_eq!(job.signature(&name).unwrap(), "bundle");
}

#[tokio::test]
async fn the_content_host_offers_what_is_there() {
    let mut bed = Bed::new(Speaks::V2).await;
    let build = build();
    build.export(&bed.export("a")).await;
    bed.restart();
    let host = ContentImport::new(&*bed.import("a").await).await;
    let [manifest] = host.manifests() else {
        panic!("one index, one manifest")
    };
    let info = host.info(*manifest).await.unwrap();
    let read = host.read(*manifest, 0..info.size).await.unwrap();
    let pieces: Vec<Bytes> = read.try_collect().await.unwrap();
    assert_eq!(Digest::of(pieces.concat()), *manifest);

    let digest = build.digest(1);
    let size = host.info(digest).await.unwrap().size;
    let read = host.read(digest, 1..size).await.unwrap();
    let pieces: Vec<Bytes> = read.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), build.layers[1][1..]);
    assert!(host.info(Digest::of("other")).await.is_err());
}
