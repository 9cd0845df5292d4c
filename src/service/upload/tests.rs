//! Uploads, part by part.

use async_trait::async_trait;

use super::*;
use crate::service::{
    api_error::ErrorKind,
    config::MAX_UPLOAD_BYTES,
    quotas::Quotas,
    store::{PartStream, Published, PutError, StoreError},
};

/// It failed, and just so.
#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, ApiError>, expected: &ApiError) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), expected.kind());
    assert_eq!(error.to_string(), expected.to_string());
}

fn upload() -> Arc<Upload> {
    upload_of(&Quotas::default())
}

fn upload_of(quotas: &Quotas) -> Arc<Upload> {
    let name = EntryName {
        repository: "o/r".into(),
        scope: "main".into(),
        key: "k".into(),
        version: "v".into(),
    };
    let usage = UploadUsage::new(quotas, &name).unwrap();
    Upload::new(1, name, Arc::new(Nowhere), Timestamp::UNIX_EPOCH, usage).into()
}

/// Where nothing is ever put: these tests say where the parts lie.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl StagedBlob for Nowhere {
    async fn put(&self, _: u64, _: &mut PartStream<'_>) -> Result<Extent, PutError> {
        unreachable!("no test puts anything")
    }

    fn release(&self, _: Extent) {}

    async fn publish(&self, _: Vec<Extent>) -> Result<Published, StoreError> {
        unreachable!("no test publishes anything")
    }

    async fn publish_direct(&self) -> Result<Option<Published>, StoreError> {
        Ok(None)
    }

    async fn unpublish(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn trim(&self, _: &Published) {}

    async fn discard(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn begin(upload: &Arc<Upload>, len: u64) -> Result<PendingPart, ApiError> {
    PendingPart::begin(upload, len, Timestamp::UNIX_EPOCH)
}

/// A part that lies somewhere else than its neighbours: the later in the content, the earlier in the store.
fn chunk(upload: &Arc<Upload>, range: Range<u64>) -> Result<(), ApiError> {
    let len = range.end - range.start;
    let at = 1_000 - range.start;
    begin(upload, len)?.keep(Extent::from((at, len)), |upload, extent| {
        upload.add_chunk(&range, extent)
    })
}

#[test]
fn chunks_in_any_order_cover_the_content() {
    let upload = upload();
    chunk(&upload, 5..10).unwrap();
    assert_refused(upload.seal(10), &ApiError::gap(0));
    chunk(&upload, 0..5).unwrap();
    assert_refused(upload.seal(9), &ApiError::size_mismatch(9, 10));
    let extents = [(1_000, 5), (995, 5)].map(Extent::from);
    assert_eq!(upload.seal(10).unwrap(), extents);
    assert_refused(chunk(&upload, 10..11), &ApiError::sealed());
}

/// The files of an upload that is being committed are about to become an entry's.
#[test]
fn an_upload_is_committed_or_given_up_but_not_both() {
    let upload = upload();
    upload.seal(0).unwrap();
    assert!(!upload.abandon());
    upload.unseal();
    let now = Timestamp::UNIX_EPOCH;
    assert!(!upload.abandon_if_idle(now), "just used");
    assert!(upload.abandon());
    assert_refused(upload.seal(0), &ApiError::not_found());
    assert_refused(chunk(&upload, 0..1), &ApiError::not_found());
}

#[test]
fn only_the_same_range_may_come_again() {
    let upload = upload();
    chunk(&upload, 10..20).unwrap();
    chunk(&upload, 10..20).unwrap();
    for overlapping in [10..11, 10..21, 5..11, 19..25, 0..100, 15..16] {
        let refused = chunk(&upload, overlapping);
        assert_refused(refused, &ApiError::overlap());
    }
    chunk(&upload, 20..21).unwrap();
    chunk(&upload, 0..10).unwrap();
    assert_eq!(
        upload.seal(21).unwrap().iter().map(|r| r.len).sum::<u64>(),
        21
    );
}

#[test]
fn the_block_list_decides_the_order() {
    let upload = upload();
    for (id, at, len) in [("b", 0, 3), ("a", 3, 2), ("unused", 5, 9), ("b", 14, 4)] {
        let part = begin(&upload, len).unwrap();
        let extent = Extent::from((at, len));
        part.keep(extent, |upload, extent| upload.add_block(id.into(), extent))
            .unwrap();
    }
    let unknown = upload.set_blocks(&["a", "c"]);
    assert_refused(unknown, &ApiError::unknown_block());
    upload.set_blocks(&["a", "b"]).unwrap();
    let repeated = upload.set_blocks(&["a", "b", "a"]);
    assert_refused(repeated, &ApiError::repeated_block());
    let extents = [(3, 2), (14, 4)].map(Extent::from);
    assert_eq!(upload.seal(6).unwrap(), extents);
}

/// What was replaced or broken off does not count, and the rest goes with the upload.
#[test]
fn only_what_lies_there_counts() {
    let quotas = Quotas::default();
    let most = MAX_UPLOAD_BYTES / 2;
    let upload = upload_of(&quotas);
    let broken = begin(&upload, most).unwrap();
    let refused = begin(&upload, 1).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
    drop(broken);
    for _ in 0..3 {
        chunk(&upload, 0..most / 2).unwrap();
        begin(&upload, most / 2 + 1).unwrap_err();
    }
    let other = upload_of(&quotas);
    assert!(begin(&other, most).is_err(), "of the same scope");
    drop(upload);
    chunk(&other, 0..most).unwrap();
}
