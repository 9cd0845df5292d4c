//! Version 2, Azure's blobs and the REST API on the wire.

use std::sync::Arc;

use buildkit_gha::actions::{Kind, Reserved};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    fake::{Bytewise, Fake, Reply, SIGNATURE, Seen, range, rest_client, say},
    v1::reserve,
};

const SERVICE: &str = "POST /root/twirp/github.actions.results.api.v1.CacheService/";

/// The method of a Twirp call, empty for others.
pub fn method(seen: &Seen) -> &str {
    seen.line.strip_prefix(SERVICE).unwrap_or_default()
}

/// A service on which all goes well.
pub fn healthy(seen: &Seen) -> Reply {
    let url = seen.url(&format!("/blob?sig={SIGNATURE}"));
    match method(seen) {
        "CreateCacheEntry" => say(
            200,
            json!({"ok": true, "signed_upload_url": url}).to_string(),
        ),
        "FinalizeCacheEntryUpload" => say(200, r#"{"ok":true,"entry_id":"9"}"#),
        "GetCacheEntryDownloadURL" => {
            let answer = json!({"ok": true, "signed_download_url": url, "matched_key": "key#1"});
            say(200, answer.to_string())
        }
        _ if seen.is("GET /blob") => range(seen, "0123456789abcdefghij"),
        _ => say(201, ""),
    }
}

#[tokio::test]
async fn a_small_entry_is_one_put() {
    let fake = Fake::start(|seen, _| healthy(seen)).await;
    let client = fake.v2();
    let reservation = reserve(&client).await;
    client
        .upload_bytes(&reservation, Bytes::from_static(b"hello"))
        .await
        .unwrap();

    let [create, put, finalize] = &fake.seen()[..] else {
        panic!("{:?}", fake.calls())
    };
    assert_eq!(method(create), "CreateCacheEntry");
    assert_eq!(create.json(), json!({"key": "key#1", "version": "v"}));
    assert_eq!(put.line, format!("PUT /blob?sig={SIGNATURE}"));
    assert_eq!(put.header("x-ms-blob-type"), "BlockBlob");
    assert_eq!(put.header("x-ms-version"), "2021-12-02");
    assert_eq!(put.header("content-length"), "5");
    assert_eq!(put.header("authorization"), "");
    assert_eq!(put.body, "hello");
    assert_eq!(method(finalize), "FinalizeCacheEntryUpload");
    let expected = json!({"key": "key#1", "version": "v", "size_bytes": "5"});
    assert_eq!(finalize.json(), expected);
}

#[tokio::test]
async fn a_large_entry_is_blocks_and_their_list() {
    let fake = Fake::start(|seen, _| healthy(seen)).await;
    let client = fake.v2();
    let reservation = reserve(&client).await;
    let source = Arc::new(Bytewise {
        content: "0123456789abcdefghij",
        ..Bytewise::default()
    });
    client
        .upload(&reservation, 20, source, Arc::new(|_| {}))
        .await
        .unwrap();

    let seen = fake.seen();
    let mut blocks: Vec<_> = seen[1..4]
        .iter()
        .map(|s| (s.line.clone(), s.body.clone()))
        .collect();
    blocks.sort();
    for (block, (id, body)) in blocks.iter().zip([
        ("MDAwMDAwMDAw", "01234567"),
        ("MDAwMDAwMDAx", "89abcdef"),
        ("MDAwMDAwMDAy", "ghij"),
    ]) {
        let line = format!("PUT /blob?sig={SIGNATURE}&comp=block&blockid={id}");
        assert_eq!(*block, (line, Bytes::from_static(body.as_bytes())));
    }
    assert_eq!(
        seen[4].line,
        format!("PUT /blob?sig={SIGNATURE}&comp=blocklist")
    );
    assert_eq!(
        seen[4].body,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList><Latest>MDAwMDAwMDAw</Latest>\
         <Latest>MDAwMDAwMDAx</Latest><Latest>MDAwMDAwMDAy</Latest></BlockList>"
    );
    assert_eq!(method(&seen[5]), "FinalizeCacheEntryUpload");
}

#[tokio::test]
async fn lookups_ask_for_the_key_and_its_prefix() {
    let fake = Fake::start(|seen, n| match n {
        0 => say(200, r#"{"ok":false}"#),
        _ => healthy(seen),
    })
    .await;
    let client = fake.v2();
    assert!(client.lookup("key#", "v").await.unwrap().is_none());
    assert_eq!(
        client.lookup("key#", "v").await.unwrap().unwrap().key,
        "key#1"
    );
    let expected = json!({"key": "key#", "restore_keys": ["key#"], "version": "v"});
    assert_eq!(fake.seen()[0].json(), expected);
}

#[tokio::test]
async fn a_reservation_is_refused_in_the_words_of_the_service() {
    let denied = "cache write denied: token has no writable scopes";
    let fake = Fake::start(move |_, n| match n {
        0 => say(200, r#"{"ok":false}"#),
        1 => say(409, r#"{"code":"already_exists","msg":"there"}"#),
        2 => say(200, json!({"ok": false, "message": denied}).to_string()),
        _ => say(403, r#"{"code":"permission_denied","msg":"not you"}"#),
    })
    .await;
    let client = fake.v2();
    for _ in 0..2 {
        assert!(matches!(
            client.reserve("k", "v").await,
            Ok(Reserved::Exists)
        ));
    }
    for message in [denied, "not you"] {
        let error = client.reserve("k", "v").await.unwrap_err();
        assert_eq!((error.kind, &*error.message), (Kind::Denied, message));
    }
}

#[tokio::test]
async fn an_upload_that_is_not_accepted_is_an_error() {
    let fake = Fake::start(|seen, _| match method(seen) {
        "FinalizeCacheEntryUpload" => say(200, r#"{"ok":false,"message":"size differs"}"#),
        _ => healthy(seen),
    })
    .await;
    let client = fake.v2();
    let reservation = reserve(&client).await;
    let error = client
        .upload_bytes(&reservation, Bytes::new())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, &*error.message),
        (Kind::Rejected(200), "size differs")
    );
    assert_eq!(fake.seen()[1].header("content-length"), "0");
}

#[tokio::test]
async fn a_listing_takes_all_pages() {
    let row = |id: usize| {
        json!({"id": id, "ref": "refs/heads/main", "key": format!("k-{id}"), "version": "v",
            "last_accessed_at": "2026-01-16T00:00:00.000Z",
            "created_at": "2026-01-16T00:00:00Z", "size_in_bytes": 5})
    };
    let fake = Fake::start(move |_, n| {
        let rows: Vec<Value> = (n * 100..150.min(n * 100 + 100)).map(row).collect();
        say(
            200,
            json!({"total_count": 150, "actions_caches": rows}).to_string(),
        )
    })
    .await;
    // No runtime token is needed for it.
    let rest = rest_client(&fake.base);
    let caches = rest.list("k-").await.unwrap();
    assert_eq!(caches.len(), 150);
    assert_eq!(caches[149].key, "k-149");
    let [first, second] = &fake.seen()[..] else {
        panic!()
    };
    assert_eq!(
        first.line,
        "GET /root/repos/owner/repo/actions/caches?key=k-&sort=created_at&direction=asc&per_page=100&page=1"
    );
    assert!(second.line.ends_with("&page=2"));
    assert_eq!(first.header("x-github-api-version"), "2022-11-28");
    assert_eq!(first.header("accept"), "application/vnd.github+json");
    assert!(first.header("authorization").starts_with("Bearer "));
}
