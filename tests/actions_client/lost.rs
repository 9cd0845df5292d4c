//! Calls that were carried out and whose answers were lost: recognised, and not failures.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buildkit_gha::actions::{Client, Kind, Reserved};
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    fake::{Fake, Reply, SIGNATURE, Seen, quick, range, say},
    v1, v2,
    v2::method,
};

/// 20 bytes: three parts of the small plan that tests use.
const CONTENT: &str = "0123456789abcdefghij";

async fn upload(client: &Client) -> Result<(), Kind> {
    let reservation = v1::reserve(client).await;
    let content = Bytes::from_static(CONTENT.as_bytes());
    let uploaded = client.upload_bytes(&reservation, content).await;
    uploaded.map_err(|error| error.kind)
}

/// Version 1 where all goes well: the entry can be found as soon as it is committed.
fn healthy_v1(seen: &Seen) -> Reply {
    if seen.is("GET /blob") {
        range(seen, CONTENT)
    } else if seen.is("GET") {
        let location = seen.url(&format!("/blob?sig={SIGNATURE}"));
        let found = json!({"cacheKey": "key#1", "archiveLocation": location});
        say(200, found.to_string())
    } else if seen.line.ends_with("/caches") {
        say(201, r#"{"cacheId":7}"#)
    } else {
        say(204, "")
    }
}

fn is_commit(seen: &Seen) -> bool {
    seen.is("POST") && seen.line.ends_with("/caches/7")
}

#[tokio::test]
async fn a_reservation_that_may_be_our_own_is_told_from_one_that_is_not() {
    let exists = r#"{"typeKey":"ArtifactCacheItemAlreadyExistsException"}"#;
    for (first, doubt) in [(Some(502), true), (None, true), (Some(429), false)] {
        let fake = Fake::start(move |_, n| match (n, first) {
            (0, Some(status)) => say(status, ""),
            (0, None) => Reply::Lose,
            _ => say(409, exists),
        })
        .await;
        for client in [fake.v1(), fake.v2()] {
            let reserved = client.reserve("k", "v").await.unwrap();
            // The second client had no trouble of its own.
            let doubt = doubt && fake.seen().len() == 2;
            assert_eq!(
                matches!(reserved, Reserved::ExistsAfterDoubt),
                doubt,
                "{first:?}: {reserved:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_commit_of_v1_is_confirmed_by_a_look() {
    let fake = Fake::start(|seen, _| {
        if is_commit(seen) {
            Reply::Lose
        } else {
            healthy_v1(seen)
        }
    })
    .await;
    assert_eq!(upload(&fake.v1()).await, Ok(()));
    assert_eq!(fake.count("POST /root/_apis/artifactcache/caches/7"), 1);
}

#[tokio::test]
async fn a_repeat_that_is_refused_is_decided_by_a_look() {
    // The entry shows up late: the repeat is sent, and refused since the upload is done.
    for entry_shows_up in [true, false] {
        let looks = AtomicUsize::new(0);
        let commits = AtomicUsize::new(0);
        let fake = Fake::start(move |seen, _| {
            if is_commit(seen) {
                match commits.fetch_add(1, Ordering::SeqCst) {
                    0 => Reply::Lose,
                    _ => say(400, r#"{"message":"no such upload"}"#),
                }
            } else if seen.is("GET /root") {
                let look = looks.fetch_add(1, Ordering::SeqCst);
                if look == 0 || !entry_shows_up {
                    say(204, "")
                } else {
                    healthy_v1(seen)
                }
            } else {
                healthy_v1(seen)
            }
        })
        .await;
        let expected = if entry_shows_up {
            Ok(())
        } else {
            Err(Kind::Rejected(400))
        };
        assert_eq!(upload(&fake.v1()).await, expected);
    }
}

#[tokio::test]
async fn a_finalize_of_v2_that_is_refused_the_second_time_is_decided_by_a_look() {
    let looks = Arc::new(AtomicUsize::new(0));
    let (counted, finalizes) = (Arc::clone(&looks), AtomicUsize::new(0));
    let fake = Fake::start(move |seen, _| match method(seen) {
        "FinalizeCacheEntryUpload" => match finalizes.fetch_add(1, Ordering::SeqCst) {
            0 => say(503, ""),
            _ => say(404, r#"{"code":"not_found","msg":"no such upload"}"#),
        },
        "GetCacheEntryDownloadURL" if counted.fetch_add(1, Ordering::SeqCst) == 0 => {
            say(200, r#"{"ok":false}"#)
        }
        _ => v2::healthy(seen),
    })
    .await;
    assert_eq!(upload(&fake.v2()).await, Ok(()));
    assert_eq!(looks.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn parts_and_their_list_are_sent_again() {
    let turns = AtomicUsize::new(0);
    let fake = Fake::start(move |seen, _| {
        let loses = seen.line.ends_with("comp=blocklist") || seen.line.ends_with("MDAwMDAwMDAx");
        // Each of the two is lost once.
        if loses && turns.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            return Reply::Lose;
        }
        v2::healthy(seen)
    })
    .await;
    assert_eq!(upload(&fake.v2()).await, Ok(()));
    assert_eq!(fake.count("PUT"), 6);
}

#[tokio::test]
async fn a_delete_that_was_carried_out_is_a_success() {
    let fake = Fake::start(|_, n| match n {
        0 => Reply::Lose,
        _ => say(404, r#"{"message":"Not Found"}"#),
    })
    .await;
    fake.v2().delete(7).await.unwrap();
    assert_eq!(
        fake.calls(),
        ["DELETE /root/repos/owner/repo/actions/caches/7"; 2]
    );
}

#[tokio::test]
async fn keys_are_looked_up_in_their_order_in_one_call() {
    let fake = Fake::start(|seen, _| {
        if seen.is("GET") {
            say(204, "")
        } else {
            say(200, r#"{"ok":false}"#)
        }
    })
    .await;
    let keys = ["k#", "k"];
    for client in [fake.v1(), fake.v2()] {
        assert!(client.lookup_first(&keys, "v").await.unwrap().is_none());
    }
    let [v1, v2] = &fake.seen()[..] else { panic!() };
    assert!(v1.line.contains("keys=k%23%2Ck&"), "{}", v1.line);
    let expected = json!({"key": "k#", "restore_keys": ["k#", "k"], "version": "v"});
    assert_eq!(v2.json(), expected);
}

/// A service that takes bytes and loses them again and again does not keep an export alive.
#[tokio::test]
async fn only_what_is_sent_for_the_first_time_puts_a_deadline_off() {
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&arrived);
    let fake = Fake::start(move |seen, _| {
        if !seen.is("PATCH") {
            return healthy_v1(seen);
        }
        log.lock().unwrap().push(Instant::now());
        Reply::Lose
    })
    .await;
    let client = fake.v1();
    let end = Instant::now();
    let deadline = client.while_moving(end, Duration::from_hours(1));
    let reservation = v1::reserve(&client).await;
    let part = client.upload_bytes(&reservation, Bytes::from_static(b"0123"));
    assert_eq!(part.await.unwrap_err().kind, Kind::Transport);
    let arrived = arrived.lock().unwrap();
    assert_eq!(arrived.len(), 5);
    assert!(deadline.end() > end);
    assert!(deadline.end() - quick().no_progress <= arrived[0]);
}
