//! Version 1 on the wire.

use std::sync::{Arc, Mutex};

use buildkit_gha::actions::{Client, Kind, Reservation, Reserved};
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::fake::{Bytewise, Fake, SIGNATURE, range, say, with};

pub async fn reserve(client: &Client) -> Reservation {
    match client.reserve("key#1", "v").await.unwrap() {
        Reserved::Created(reservation) => reservation,
        other => panic!("the key is new: {other:?}"),
    }
}

#[tokio::test]
async fn a_miss_and_the_headers_of_a_call() {
    let fake = Fake::start(|_, _| say(204, "")).await;
    assert!(fake.v1().lookup("a#b", "v").await.unwrap().is_none());
    let [seen] = &fake.seen()[..] else { panic!() };
    assert_eq!(
        seen.line,
        "GET /root/_apis/artifactcache/cache?keys=a%23b&version=v"
    );
    assert_eq!(
        seen.header("accept"),
        "application/json;api-version=6.0-preview.1"
    );
    assert!(seen.header("authorization").starts_with("Bearer e30."));
    assert!(seen.header("user-agent").starts_with("buildkit-gha/"));
}

/// Stock takes a 200 without a key for a miss.
#[tokio::test]
async fn a_200_without_a_key_is_a_miss() {
    for body in [
        "",
        "\n",
        "{}",
        "null",
        r#"{"cacheKey":"","archiveLocation":""}"#,
        r#"{"cacheKey":null}"#,
    ] {
        let fake = Fake::start(move |_, _| say(200, body)).await;
        let missed = fake.v1().lookup("a#b", "v").await;
        assert!(missed.unwrap().is_none(), "{body:?}");
        assert_eq!(fake.seen().len(), 1, "{body:?} is asked for once");
    }
}

#[tokio::test]
async fn a_key_without_a_url_is_no_answer() {
    let fake = Fake::start(|_, _| say(200, r#"{"cacheKey":"a#b"}"#)).await;
    let error = fake.v1().lookup("a#b", "v").await.unwrap_err();
    assert_eq!(error.kind, Kind::Protocol);
    assert!(error.message.contains("without its URL"), "{error}");
}

#[tokio::test]
async fn a_hit_is_read_in_ranges_without_the_token() {
    let fake = Fake::start(|seen, _| {
        if seen.is("GET /blob") {
            range(seen, "0123456789")
        } else {
            let location = seen.url(&format!("/blob?sig={SIGNATURE}"));
            say(
                200,
                json!({"cacheKey": "key#12", "archiveLocation": location}).to_string(),
            )
        }
    })
    .await;
    let client = fake.v1();
    let entry = client.lookup("key#", "v").await.unwrap().unwrap();
    assert_eq!(entry.key, "key#12");
    let probe = client.probe(&entry, 3).await.unwrap();
    assert_eq!((probe.total, &probe.head[..]), (10, &b"012"[..]));
    let probe = client.probe(&entry, 100).await.unwrap();
    assert_eq!((probe.total, &probe.head[..]), (10, &b"0123456789"[..]));
    let bytes: Vec<_> = client
        .read(&entry, 4..9)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(bytes.concat(), b"45678");
    let beyond = client.read(&entry, 8..12).await.err().unwrap();
    assert_eq!(beyond.kind, Kind::Protocol);
    for seen in fake.seen().iter().filter(|seen| seen.is("GET /blob")) {
        assert_eq!(seen.header("authorization"), "");
        assert_eq!(seen.line, format!("GET /blob?sig={SIGNATURE}"));
    }
}

#[tokio::test]
async fn an_upload_is_patched_in_parts_and_committed_last() {
    let fake = Fake::start(|seen, _| {
        if seen.line.ends_with("/caches") {
            say(201, r#"{"cacheId":7}"#)
        } else {
            say(204, "")
        }
    })
    .await;
    let client = fake.v1();
    let reservation = reserve(&client).await;
    let source = Arc::new(Bytewise {
        content: "0123456789abcdefghij",
        ..Bytewise::default()
    });
    let progress = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&progress);
    let tell = Arc::new(move |bytes| told.lock().unwrap().push(bytes));
    client.upload(&reservation, 20, source, tell).await.unwrap();

    let seen = fake.seen();
    assert_eq!(seen[0].json(), json!({"key": "key#1", "version": "v"}));
    let mut parts: Vec<_> = seen[1..4].iter().collect();
    parts.sort_by_key(|part| part.body.clone());
    for (part, (range, body)) in parts.iter().zip([
        ("bytes 0-7/*", "01234567"),
        ("bytes 8-15/*", "89abcdef"),
        ("bytes 16-19/*", "ghij"),
    ]) {
        assert_eq!(part.line, "PATCH /root/_apis/artifactcache/caches/7");
        assert_eq!(part.header("content-range"), range);
        assert_eq!(part.header("content-type"), "application/octet-stream");
        assert_eq!(part.header("content-length"), body.len().to_string());
        assert_eq!(part.body, body);
    }
    assert_eq!(seen[4].line, "POST /root/_apis/artifactcache/caches/7");
    assert_eq!(seen[4].json(), json!({"size": 20}));
    assert_eq!(seen.len(), 5);
    let progress = progress.lock().unwrap();
    assert!(
        progress.is_sorted() && progress.len() == 3 && progress[2] == 20,
        "{progress:?}"
    );
}

#[tokio::test]
async fn a_taken_key_is_an_outcome_and_a_refusal_an_error() {
    let exists =
        r#"{"message":"Cache already exists","typeKey":"ArtifactCacheItemAlreadyExistsException"}"#;
    let fake = Fake::start(move |_, n| match n {
        0 => say(409, ""),
        1 => say(400, exists),
        _ => say(403, r#"{"message":"This token cannot write"}"#),
    })
    .await;
    let client = fake.v1();
    for _ in 0..2 {
        assert!(matches!(
            client.reserve("k", "v").await,
            Ok(Reserved::Exists)
        ));
    }
    let error = client.reserve("k", "v").await.unwrap_err();
    assert_eq!(
        (error.kind, &*error.message),
        (Kind::Denied, "This token cannot write")
    );
    assert_eq!(error.call.name(), "reserve");
    assert_eq!(error.origin, fake.base.origin().ascii_serialization());
}

#[tokio::test]
async fn a_call_with_the_token_is_not_redirected() {
    let fake = Fake::start(|seen, _| with(307, &[("location", &seen.url("/other"))], "")).await;
    let error = fake.v1().lookup("k", "v").await.unwrap_err();
    assert_eq!(error.kind, Kind::Protocol);
    assert_eq!(fake.count("GET /other"), 0);
}
