use std::fs;

use super::*;

fn clock() -> Clock {
    Arc::new(|| Timestamp::from_second(1_800_000_000).unwrap())
}

fn lines(path: &std::path::Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_file_that_was_moved_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("audit"), dir.path().join("audit.1"));
    let target = AuditTarget::File(path.clone());
    let log = AuditLog::open(Some(&target), clock()).unwrap();
    let event = || AuditEvent::new(EventKind::EntriesEvicted);
    log.record(event()).await;
    fs::rename(&path, &moved).unwrap();
    log.record(event()).await;
    log.record(event()).await;
    assert_eq!((lines(&moved).len(), lines(&path).len()), (1, 2));
    fs::remove_file(&path).unwrap();
    log.record(event()).await;
    let expected = serde_json::json!({"time": "2027-01-15T08:00:00Z", "event": "entries_evicted"});
    assert_eq!(lines(&path), [expected]);
}

#[tokio::test]
async fn refusals_are_bounded_and_deletions_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit");
    let target = AuditTarget::File(path.clone());
    let log = AuditLog::open(Some(&target), clock()).unwrap();
    for _ in 0..100 {
        log.record(AuditEvent {
            reason: Some("é".repeat(10_000)),
            ..AuditEvent::new(EventKind::TokenRefused)
        })
        .await;
        log.record(AuditEvent::new(EventKind::EntryDeleted)).await;
    }
    log.tell_left_out().await;
    log.tell_left_out().await;
    let lines = lines(&path);
    let count = |kind| lines.iter().filter(|line| line["event"] == kind).count();
    assert_eq!(count("token_refused"), 60);
    assert_eq!(count("entry_deleted"), 100);
    assert_eq!(count("denials_left_out"), 1);
    assert_eq!(lines.last().unwrap()["left_out"], 40);
    let reason = lines[0]["reason"].as_str().unwrap();
    assert_eq!(reason.chars().count(), 512);
}

#[test]
fn a_file_that_cannot_be_opened_ends_the_start() {
    let target: AuditTarget = "/nowhere/audit".parse().unwrap();
    assert!(AuditLog::open(Some(&target), clock()).is_err());
    assert_eq!("-".parse(), Ok(AuditTarget::Stdout));
}
