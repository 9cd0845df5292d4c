//! A service that answers anything: every call ends, in bounded time and memory, with clear words.

use std::time::Duration;

use buildkit_gha::actions::{Api, Call, Client, Error, Kind};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tokio::time::{Instant, timeout};

use crate::{
    fake::{Fake, SIGNATURE, TOKEN_MARK, client, say, with},
    rude::{Rude, Then, impatient},
    v1::reserve,
    v2::{healthy, method},
};

/// Far above what any of these calls may take, and far below for ever.
const BOUND: Duration = Duration::from_secs(15);

/// What a client waits for that is to see that nothing comes.
const SHORT: Duration = Duration::from_millis(300);

/// What the sockets of both sides may hold beside what the client reads.
const SOCKETS: u64 = 32 << 20;

/// Many lines in one piece, so that a flood is fast.
const HEADERS: &[u8] = b"x-a: b\r\nx-a: b\r\nx-a: b\r\nx-a: b\r\nx-a: b\r\nx-a: b\r\nx-a: b\r\n";
const FILLING: &[u8] = &[b'x'; 64 << 10];
const NESTING: &[u8] = &[b'['; 64 << 10];
const CHUNK: &[u8] = &chunk();
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n";

/// 4096 bytes as HTTP/1.1 frames them.
const fn chunk() -> [u8; 4104] {
    let mut chunk = [b'x'; 4104];
    let (head, _) = chunk.split_at_mut(6);
    head.copy_from_slice(b"1000\r\n");
    let (_, end) = chunk.split_at_mut(4102);
    end.copy_from_slice(b"\r\n");
    chunk
}

/// What a lookup comes to whose answer is this.
async fn lookup(first: &[u8], then: Then) -> Error {
    let rude = Rude::start(first, then).await;
    // A flood is over when its limit is reached, a dribble when its time is.
    let limit = match then {
        Then::Dribble(_) => SHORT,
        Then::Repeat(_) | Then::Close => BOUND,
    };
    let client = rude.client(limit);
    let outcome = timeout(BOUND, client.lookup("k", "v")).await;
    let shown = String::from_utf8_lossy(first).into_owned();
    let outcome = outcome.unwrap_or_else(|_| panic!("{shown} holds a call for ever"));
    drop(client);
    let taken = timeout(BOUND, rude.taken()).await;
    let taken = taken.unwrap_or_else(|_| panic!("{shown}: the connection stays"));
    assert!(
        taken < SOCKETS * rude.connections() as u64,
        "{shown}: {taken} bytes were taken"
    );
    outcome.expect_err(&shown)
}

/// The first bytes of an answer, what follows without end, and the error it is.
const ENDLESS: [(&str, Then, Kind, &str); 9] = [
    (
        "HTTP/1.1 200 OK\r\n\r\n{\"cacheKey\":\"",
        Then::Repeat(FILLING),
        Kind::Protocol,
        "more than 262144 bytes",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807\r\n\r\n",
        Then::Repeat(NESTING),
        Kind::Protocol,
        "more than 262144 bytes",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        Then::Repeat(CHUNK),
        Kind::Protocol,
        "more than 262144 bytes",
    ),
    (
        "HTTP/1.1 501 Never\r\n\r\nno, and that again and again: ",
        Then::Repeat(FILLING),
        Kind::Server(501),
        "no, and that",
    ),
    (
        "HTTP/1.1 200 OK\r\n",
        Then::Repeat(HEADERS),
        Kind::Transport,
        "head is too large",
    ),
    (
        "HTTP/1.1 200 OK\r\nx-long: ",
        Then::Repeat(FILLING),
        Kind::Transport,
        "head is too large",
    ),
    (
        "HTTP/1.1 200 OK\r\nx-slow: ",
        Then::Dribble(b'x'),
        Kind::Timeout,
        "300ms",
    ),
    (
        "HTTP/1.1 200 OK\r\n\r\n{\"cacheKey\":\"",
        Then::Dribble(b'x'),
        Kind::Timeout,
        "300ms",
    ),
    (
        "HTTP/1.1 501 Never\r\n\r\nnot now",
        Then::Dribble(b'.'),
        Kind::Server(501),
        "not now.",
    ),
];

#[tokio::test]
async fn floods_and_dribbles_end_in_bounded_time_and_memory() {
    for (first, then, kind, words) in ENDLESS {
        let error = lookup(first.as_bytes(), then).await;
        assert_eq!(error.kind, kind, "{first}: {error}");
        assert!(error.message.contains(words), "{first}: {error}");
        assert!(error.message.len() < 1200, "{error}");
    }
}

#[tokio::test]
async fn interim_answers_without_end_are_no_answer() {
    let rude = Rude::start("", Then::Repeat(CONTINUE)).await;
    let client = rude.client(SHORT);
    let error = timeout(BOUND, client.lookup("k", "v")).await.unwrap();
    let error = error.unwrap_err();
    assert_eq!(error.kind, Kind::Timeout, "{error}");
    assert!(error.message.contains("no answer within"), "{error}");
    drop(client);
    timeout(BOUND, rude.taken()).await.unwrap();
}

#[tokio::test]
async fn answers_that_lie_or_are_none_are_errors_in_words() {
    let nested = |head: &[u8]| [head, NESTING].concat();
    let no_text = b"HTTP/1.1 200 OK\r\n\r\n{\"cacheKey\":\"\xff\xfe\"}".to_vec();
    let text = |text: &str| text.as_bytes().to_vec();
    for (first, kind, words) in [
        (
            nested(b"HTTP/1.1 200 OK\r\n\r\n{\"unknown\":"),
            Kind::Incomplete,
            "in the middle of its JSON",
        ),
        (
            nested(b"HTTP/1.1 400 No\r\n\r\n{\"message\":\"no\",\"code\":"),
            Kind::Rejected(400),
            "[[[[",
        ),
        (no_text, Kind::Protocol, "not the JSON"),
        (
            text("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}"),
            Kind::Incomplete,
            "",
        ),
        (
            text("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{\"cacheKey\":\"k\"}"),
            Kind::Incomplete,
            "in the middle of its JSON",
        ),
        (
            text("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} "),
            Kind::Transport,
            "",
        ),
        (text("SSH-2.0-OpenSSH_9.9\r\n"), Kind::Transport, ""),
        (text(""), Kind::Transport, ""),
        (
            text("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
            Kind::Protocol,
            "unexpected answer 101",
        ),
        (
            text("HTTP/1.1 400 No\r\n\r\n\x1b[2J\x07{\"message\":\u{7f}\n\n  gone\t}"),
            Kind::Rejected(400),
            "[2J {\"message\": gone }",
        ),
    ] {
        let error = lookup(&first, Then::Close).await;
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_url_that_leads_elsewhere_than_http_is_not_followed() {
    const URLS: [&str; 7] = [
        "file:///etc/passwd",
        "unix:/run/docker.sock",
        "data:,x",
        "http:",
        "/relative",
        "https://",
        "javascript:alert(1)",
    ];
    let fake = Fake::start(|_, n| {
        let url = URLS[n / 3];
        let found = serde_json::json!({
            "cacheKey": "k", "archiveLocation": url,
            "ok": true, "matched_key": "k", "signed_download_url": url, "signed_upload_url": url,
        });
        say(200, found.to_string())
    })
    .await;
    let (v1, v2) = (fake.v1(), fake.v2());
    for url in URLS {
        for error in [
            v1.lookup("k", "v").await.unwrap_err(),
            v2.lookup("k", "v").await.unwrap_err(),
            v2.reserve("k", "v").await.unwrap_err(),
        ] {
            assert_eq!(error.kind, Kind::Protocol, "{url}: {error}");
            assert!(error.message.contains("http or https"), "{url}: {error}");
        }
    }
    assert_eq!(fake.seen().len(), 3 * URLS.len());
}

#[tokio::test]
async fn no_call_with_a_token_and_no_upload_follows_a_redirect() {
    let other = Fake::start(|_, _| say(200, "{}")).await;
    let to = other.base.join(&format!("/secret?{TOKEN_MARK}")).unwrap();
    let location = to.to_string();
    let fake = Fake::start(move |seen, n| match method(seen) {
        "CreateCacheEntry" => healthy(seen),
        _ => with(
            [301, 302, 303, 307, 308][n % 5],
            &[("location", &location)],
            "",
        ),
    })
    .await;
    let (v1, v2) = (fake.v1(), fake.v2());
    let reservation = reserve(&v2).await;
    let content = Bytes::from_static(b"hello");
    for _ in 0..5 {
        for error in [
            v1.lookup("k", "v").await.unwrap_err(),
            v2.list("k").await.unwrap_err(),
            v2.upload_bytes(&reservation, content.clone())
                .await
                .unwrap_err(),
        ] {
            assert_eq!(error.kind, Kind::Protocol, "{error}");
            let named = format!(
                "a redirect to {}",
                other.base.origin().ascii_serialization()
            );
            assert!(error.message.contains(&named), "{error}");
            assert!(!error.message.contains(TOKEN_MARK), "{error}");
        }
    }
    assert_eq!(fake.seen().len(), 1 + 5 * 3);
    assert_eq!(other.seen().len(), 0);
}

/// An hour is believed, so this is not for ever; and the call does not begin to wait.
#[tokio::test]
async fn a_wait_of_years_is_an_hour_and_is_not_begun() {
    const ASKED: [&str; 3] = [
        "315360000",
        "18446744073709551615",
        "Fri, 01 Jan 2100 00:00:00 GMT",
    ];
    for asked in ASKED {
        let fake = Fake::start(move |_, _| with(429, &[("retry-after", asked)], "")).await;
        let client = fake.v1().with_deadline(Instant::now() + BOUND);
        let error = client.lookup("k", "v").await.unwrap_err();
        assert_eq!(error.kind, Kind::Timeout, "{asked}: {error}");
        let due = error.message.strip_prefix("the next attempt is due in ");
        let due: f64 = due.unwrap().split_once(" s").unwrap().0.parse().unwrap();
        assert!((3_590.0..4_000.0).contains(&due), "{asked}: {error}");
        assert_eq!(fake.seen().len(), 1, "{asked}");
    }
}

#[tokio::test]
async fn ranges_that_lie_are_refused_before_a_byte_of_them_is_used() {
    const LIES: [(u16, &str); 10] = [
        (206, "bytes 0-3/10"),
        (206, "bytes 4-9/10"),
        (206, "bytes 4-6/10"),
        (206, "bytes 7-4/10"),
        (206, "bytes 4-7/5"),
        (206, "bytes 4-18446744073709551615/*"),
        (206, "4-7/10"),
        (206, ""),
        (200, "bytes 4-7/10"),
        (416, "bytes */4"),
    ];
    let fake = Fake::start(|seen, n| match method(seen) {
        // The lookup came first.
        "" => with(LIES[n - 1].0, &[("content-range", LIES[n - 1].1)], "4567"),
        _ => healthy(seen),
    })
    .await;
    let client = fake.v2();
    let entry = client.lookup("key#1", "v").await.unwrap().unwrap();
    for lie in LIES {
        let Err(error) = client.read(&entry, 4..8).await else {
            panic!("{lie:?} is taken for bytes 4 to 8")
        };
        assert_eq!(error.kind, Kind::Protocol, "{lie:?}: {error}");
        assert!(error.message.contains("bytes 4 to 8"), "{lie:?}: {error}");
    }
}

/// A probe believes only what begins at the front and says how much there is.
#[tokio::test]
async fn a_size_is_believed_only_where_the_range_is_the_right_one() {
    const LIES: [&str; 4] = ["bytes 4-4/10", "bytes 0-0/*", "bytes 0-1/10", "bytes 0-0/0"];
    let fake = Fake::start(|seen, n| match method(seen) {
        "" => with(206, &[("content-range", LIES[(n - 1) / 2])], "0"),
        _ => healthy(seen),
    })
    .await;
    let client = fake.v2();
    let entry = client.lookup("key#1", "v").await.unwrap().unwrap();
    for lie in LIES {
        let probe = client.probe(&entry, 1).await.unwrap_err();
        let whole = client.read_all(&entry, 100).await.unwrap_err();
        assert_eq!(probe.kind, Kind::Protocol, "{lie}: {probe}");
        assert_eq!(whole.kind, Kind::Protocol, "{lie}: {whole}");
    }
}

/// A client of a service whose URLs lead to `blobs`.
async fn leading_to(blobs: &Rude) -> (Fake, Client) {
    let url = blobs.base.join(&format!("/b?sig={SIGNATURE}")).unwrap();
    let url = url.as_str();
    let answer = serde_json::json!({
        "ok": true, "matched_key": "key#1",
        "signed_download_url": url, "signed_upload_url": url,
    });
    let fake = Fake::start(move |_, _| say(200, answer.to_string())).await;
    let client = client(Api::V2(fake.base.clone()), impatient(SHORT));
    (fake, client)
}

#[tokio::test]
async fn a_download_that_dribbles_is_cut_and_one_without_end_is_not_read_on() {
    let head = "HTTP/1.1 206 Partial\r\ncontent-range: bytes 0-99999/100000\r\n\r\n";
    let slow = Rude::start(head, Then::Dribble(b'x')).await;
    let (_fake, client) = leading_to(&slow).await;
    let entry = client.lookup("key#1", "v").await.unwrap().unwrap();
    let body = client.read(&entry, 0..100_000).await.unwrap();
    let read = timeout(BOUND, body.try_collect::<Vec<_>>()).await.unwrap();
    let error = read.unwrap_err();
    assert_eq!(error.kind, Kind::Timeout, "{error}");
    assert!(error.message.contains("bytes came in 300ms"), "{error}");
    let error = timeout(BOUND, client.read_all(&entry, 200_000)).await;
    assert_eq!(error.unwrap().unwrap_err().kind, Kind::Timeout);

    let endless = Rude::start(head, Then::Repeat(FILLING)).await;
    let (_fake, client) = leading_to(&endless).await;
    let entry = client.lookup("key#1", "v").await.unwrap().unwrap();
    let body = client.read(&entry, 0..100_000).await.unwrap();
    let read = body.try_collect::<Vec<_>>().await.unwrap().concat();
    assert_eq!(read.len(), 100_000);
    drop(client);
    assert!(timeout(BOUND, endless.taken()).await.unwrap() < SOCKETS);
}

#[tokio::test]
async fn an_upload_whose_answer_does_not_end_is_done_with_its_head() {
    let head = "HTTP/1.1 201 Created\r\n\r\n";
    let endless = Rude::start(head, Then::Repeat(FILLING)).await;
    let (_fake, client) = leading_to(&endless).await;
    let reservation = reserve(&client).await;
    let content = Bytes::from_static(b"hello");
    let upload = client.upload_bytes(&reservation, content);
    timeout(BOUND, upload).await.unwrap().unwrap();
    drop(client);
    assert!(timeout(BOUND, endless.taken()).await.unwrap() < SOCKETS);
}

/// Refusals in an answer that succeeds are shown as others are.
#[tokio::test]
async fn what_a_refusal_repeats_of_the_token_is_hidden_and_the_rest_cut_to_size() {
    let fake = Fake::start(|seen, _| {
        let token = &seen.header("authorization")["Bearer ".len()..];
        let said = format!("{token} may\nnot write {}{token}", "x".repeat(950));
        let answer = serde_json::json!({"ok": false, "message": said});
        say(200, answer.to_string())
    })
    .await;
    let error = fake.v2().reserve("k", "v").await.unwrap_err();
    assert_eq!((error.kind, error.call), (Kind::Denied, Call::Reserve));
    let said = &error.message;
    assert!(said.starts_with("[secret] may not write xxx"), "{said}");
    let token = fake.seen()[0].header("authorization")["Bearer ".len()..].to_owned();
    assert!(said.len() <= 1_000 && !said.contains(&token[..8]), "{said}");
}
