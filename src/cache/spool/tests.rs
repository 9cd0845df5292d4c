//! Tests of the spool.

use super::*;

const WAIT: Duration = Duration::from_secs(1);

fn spool(pages: u64) -> Spool {
    Spool::new(std::env::temp_dir(), pages * PAGE)
}

#[tokio::test]
async fn bytes_come_back() {
    let file = spool(4).create(3).await.unwrap();
    file.write_at(0, Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(&file.read_at(1..3).await.unwrap()[..], b"bc");
    assert!(file.read_at(1..4).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn room_is_taken_before_and_given_back_after() {
    let spool = spool(2);
    let first = spool.create(PAGE + 1).await.unwrap();
    assert!(matches!(
        spool.create_within(1, WAIT).await,
        Err(SpoolError::Full { .. })
    ));
    drop(first);
    assert_eq!(spool.used(), 0);
    spool.create_within(1, WAIT).await.unwrap();
    assert!(matches!(
        spool.create(3 * PAGE).await,
        Err(SpoolError::TooLarge { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn only_the_first_waits_for_a_spool_that_is_stuck() {
    let spool = spool(1);
    let held = spool.create(1).await.unwrap();
    let start = tokio::time::Instant::now();
    for _ in 0..100 {
        assert!(spool.create_within(1, WAIT).await.is_err());
    }
    assert_eq!(start.elapsed(), WAIT);

    drop(held);
    let held = spool.create_within(1, WAIT).await.unwrap();
    let start = tokio::time::Instant::now();
    assert!(spool.create_within(1, WAIT).await.is_err());
    assert_eq!(start.elapsed(), WAIT, "room was given back in between");
    drop(held);
}

#[tokio::test]
async fn a_file_that_grows_takes_room_as_it_does() {
    let spool = spool(2);
    let file = spool.create(0).await.unwrap();
    let page = Bytes::from(vec![7; 4 << 10]);
    file.write_at(0, page.clone()).await.unwrap();
    let other = spool.create(1).await.unwrap();
    assert!(matches!(
        file.write_at(PAGE, page.clone()).await,
        Err(SpoolError::Full { .. })
    ));
    drop(other);
    file.write_at(PAGE, page).await.unwrap();
    assert_eq!(spool.used(), 2 * PAGE);
}

#[tokio::test]
async fn a_directory_that_is_removed_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("in/it");
    let spool = Spool::new(dir.clone(), 2 * PAGE);
    let before = spool.create(1).await.unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    before.write_at(0, Bytes::from_static(b"a")).await.unwrap();
    spool.admits(1).await.unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    spool.create(1).await.unwrap();
    assert!(dir.exists());
}

#[tokio::test]
async fn what_no_disk_can_hold_is_not_admitted() {
    let spool = Spool::new(std::env::temp_dir(), u64::MAX);
    let disk = disk::free(&std::env::temp_dir()).unwrap();
    spool.admits(1).await.unwrap();
    assert!(matches!(
        spool.admits(disk.saturating_mul(2)).await,
        Err(SpoolError::NoDisk { .. })
    ));
}

/// /dev/full stands for a disk that is.
#[test]
fn a_full_disk_is_told_from_other_faults() {
    use std::io::Write as _;
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert!(disk::is_full(&(&full).write(b"a").unwrap_err()));
    assert!(!disk::is_full(&io::ErrorKind::NotFound.into()));
}

#[tokio::test]
async fn what_must_stay_free_is_left_at_creation_and_growth() {
    let dir = std::env::temp_dir();
    let (free, usual) = Floor::Usual.measure(&dir).unwrap();
    assert!((1 << 30..=4 << 30).contains(&usual));
    // More than others can free meanwhile.
    let scarce = spool(4).with_floor(Floor::Bytes(free.saturating_mul(2)));
    let refused = scarce.create_within(PAGE, WAIT).await.unwrap_err();
    assert!(
        refused.to_string().contains("BUILDKIT_GHA_SPOOL_FREE"),
        "{refused}"
    );
    assert_eq!(scarce.used(), 0);

    let spool = spool(4).with_floor(Floor::Bytes(1));
    let file = spool.create(0).await.unwrap();
    file.write_at(0, Bytes::from_static(b"abc")).await.unwrap();
    let spool = spool.with_floor(Floor::Bytes(free.saturating_mul(2)));
    file.write_at(3, Bytes::from_static(b"def")).await.unwrap();
    let grown = file.write_at(PAGE, Bytes::from_static(b"ghi")).await;
    assert!(matches!(grown, Err(SpoolError::Floor { .. })), "{grown:?}");
    drop((file, spool));
}

#[tokio::test]
async fn what_is_confirmed_is_given_back_when_others_need_the_room() {
    let spool = spool(4);
    let file = Arc::new(spool.create(4 * PAGE).await.unwrap());
    let content: Bytes = [0_u8, 1, 2, 3]
        .iter()
        .flat_map(|page| [*page; 4096])
        .collect();
    file.write_at(0, content).await.unwrap();
    // Parts in any order, which end in the middle of a page.
    file.confirmed(PAGE + 7..3 * PAGE + 9);
    file.confirmed(0..PAGE + 7);
    assert_eq!(spool.used(), 4 * PAGE, "nobody needs it");
    let other = spool.create_within(3 * PAGE, WAIT).await.unwrap();
    assert_eq!(spool.used(), 4 * PAGE);
    assert_eq!(
        file.read_at(3 * PAGE..4 * PAGE).await.unwrap()[..],
        [3; 4096]
    );
    assert!(!file.start_over(), "some of it is gone");
    file.write_at(4 * PAGE - 1, Bytes::from_static(b"x"))
        .await
        .unwrap();
    assert!(spool.create_within(1, Duration::ZERO).await.is_err());
    drop((file, other));
    assert_eq!(spool.used(), 0);
}

#[tokio::test]
async fn an_upload_that_starts_over_keeps_its_bytes() {
    let spool = spool(2);
    let file = Arc::new(spool.create(2 * PAGE).await.unwrap());
    file.write_at(0, Bytes::from(vec![7; 8192])).await.unwrap();
    file.confirmed(0..PAGE);
    assert!(file.start_over());
    assert!(spool.create_within(1, Duration::ZERO).await.is_err());
    assert_eq!(file.read_at(0..PAGE).await.unwrap()[..], [7; 4096]);
}
