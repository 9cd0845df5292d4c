//! Uploads, part by part.

use super::*;
use crate::service::{accounts::Accounts, config::MAX_UPLOAD_BYTES};

fn upload() -> Arc<Upload> {
    upload_of(&Accounts::default())
}

fn upload_of(accounts: &Accounts) -> Arc<Upload> {
    let name = Name {
        repository: "o/r".into(),
        scope: "main".into(),
        key: "k".into(),
        version: "v".into(),
    };
    let holding = Holding::open(accounts, &name).unwrap();
    let file = tempfile::tempfile().unwrap();
    Upload::new(1, name, file, Timestamp::UNIX_EPOCH, holding).into()
}

fn chunk(upload: &Arc<Upload>, range: Range<u64>) -> Result<(), Error> {
    let part = Part::begin(upload, range.end - range.start, Timestamp::UNIX_EPOCH)?;
    part.keep(|upload, region| upload.add_chunk(&range, region))
}

#[test]
fn chunks_in_any_order_cover_the_content() {
    let upload = upload();
    chunk(&upload, 5..10).unwrap();
    assert!(matches!(upload.seal(10), Err(Error::Gap { offset: 0 })));
    chunk(&upload, 0..5).unwrap();
    assert!(matches!(upload.seal(9), Err(Error::Size { .. })));
    let regions = [(5, 5), (0, 5)].map(Extent::from);
    assert_eq!(upload.seal(10).unwrap(), regions);
    assert!(matches!(chunk(&upload, 10..11), Err(Error::Sealed)));
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
    assert!(matches!(upload.seal(0), Err(Error::NotFound)));
    assert!(matches!(chunk(&upload, 0..1), Err(Error::NotFound)));
}

#[test]
fn only_the_same_range_may_come_again() {
    let upload = upload();
    chunk(&upload, 10..20).unwrap();
    chunk(&upload, 10..20).unwrap();
    for overlapping in [10..11, 10..21, 5..11, 19..25, 0..100, 15..16] {
        let refused = chunk(&upload, overlapping.clone());
        assert!(matches!(refused, Err(Error::Overlap)), "{overlapping:?}");
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
    for (id, len) in [("b", 3), ("a", 2), ("unused", 9), ("b", 4)] {
        let part = Part::begin(&upload, len, Timestamp::UNIX_EPOCH).unwrap();
        part.keep(|upload, region| upload.add_block(id.into(), region))
            .unwrap();
    }
    let unknown = upload.set_blocks(&["a", "c"]);
    assert!(matches!(unknown, Err(Error::UnknownBlock)));
    upload.set_blocks(&["a", "b"]).unwrap();
    let repeated = upload.set_blocks(&["a", "b", "a"]);
    assert!(matches!(repeated, Err(Error::RepeatedBlock)));
    let regions = [(3, 2), (14, 4)].map(Extent::from);
    assert_eq!(upload.seal(6).unwrap(), regions);
}

/// What was replaced or broken off does not count, and the rest goes with the upload.
#[test]
fn only_what_lies_there_counts() {
    let accounts = Accounts::default();
    let most = MAX_UPLOAD_BYTES / 2;
    let begin = |upload: &Arc<Upload>, len| Part::begin(upload, len, Timestamp::UNIX_EPOCH);
    let upload = upload_of(&accounts);
    let broken = begin(&upload, most).unwrap();
    assert!(matches!(begin(&upload, 1), Err(Error::Busy { .. })));
    drop(broken);
    for _ in 0..3 {
        chunk(&upload, 0..most / 2).unwrap();
        begin(&upload, most / 2 + 1).unwrap_err();
    }
    let other = upload_of(&accounts);
    assert!(begin(&other, most).is_err(), "of the same scope");
    drop(upload);
    chunk(&other, 0..most).unwrap();
}
