//! What happens when the service, the network or this machine fails.

use std::{
    io,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buildkit_gha::actions::{
    Api, Call, Client, ClientConfig, Hold, Http, HttpConfig, Kind, Observer, Source, Target,
    WaitGuard,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future::join};
use tokio::{sync::Notify, time::Instant};

use crate::{
    fake::{
        Bytewise, Fake, Reply, client, client_over, quick, range, say, token, token_until, with,
    },
    v1::reserve,
    v2::{healthy, method},
};

/// The waits that a client tells of.
#[derive(Default)]
struct Waits(Mutex<Vec<(Call, Duration, String)>>);

impl Observer for Waits {
    fn waiting(&self, call: Call, _: Hold, wait: Duration, why: &str) -> WaitGuard {
        self.0.lock().unwrap().push((call, wait, why.to_owned()));
        None
    }
}

#[tokio::test]
async fn passing_faults_are_tried_again_and_seen() {
    let fake = Fake::start(|_, n| match n {
        0 => with(429, &[("retry-after", "0")], ""),
        1 => say(429, ""),
        2 => say(500, "oops"),
        3 => Reply::Lose,
        _ => say(204, ""),
    })
    .await;
    let waits = Arc::new(Waits::default());
    let config = ClientConfig {
        observer: Arc::clone(&waits) as Arc<dyn Observer>,
        ..quick()
    };
    let client = client(Api::V1(fake.base.clone()), config);
    assert!(client.lookup("k", "v").await.unwrap().is_none());
    let waits = waits.0.lock().unwrap();
    for reason in [
        "the service said: the service answered 429 Too Many Requests",
        "the last attempt failed: oops",
    ] {
        let told = waits.iter().any(|(_, _, why)| why == reason);
        assert!(told, "{reason} is not among {waits:?}");
    }
    let longest = waits.iter().map(|(_, wait, _)| *wait).max();
    assert!(longest < Some(Duration::from_secs(3)), "{waits:?}");
    assert!(waits.iter().all(|(call, _, _)| *call == Call::Lookup));
}

#[tokio::test]
async fn one_budget_holds_for_all_clients_of_a_token_and_for_no_other() {
    let busy = Fake::start(|_, n| match n {
        0 => with(429, &[("retry-after", "60")], r#"{"message":"slow down"}"#),
        _ => say(204, ""),
    })
    .await;
    let quiet = Fake::start(|_, _| say(204, "")).await;
    let http = Http::new(&HttpConfig::default()).unwrap();
    let soon = || Instant::now() + Duration::from_secs(20);
    let client = |fake: &Fake| {
        let target = Target {
            api: Api::V1(fake.base.clone()),
            token: token(),
            rest: None,
        };
        Client::new(http.clone(), target, quick()).with_deadline(soon())
    };
    // The first learns it from the service, the second from the first.
    for _ in 0..2 {
        let error = client(&busy).lookup("k", "v").await.unwrap_err();
        assert_eq!(error.kind, Kind::Timeout);
        assert!(error.message.contains("slow down"), "{error}");
    }
    assert_eq!(busy.seen().len(), 1);
    assert!(client(&quiet).lookup("k", "v").await.unwrap().is_none());
}

#[tokio::test]
async fn faults_that_stay_are_reported_in_the_end() {
    let fake = Fake::start(|_, _| say(502, "<title>502 Bad Gateway</title>")).await;
    let error = fake.v1().lookup("k", "v").await.unwrap_err();
    assert_eq!(
        (error.kind, &*error.message),
        (Kind::Server(502), "502 Bad Gateway")
    );
    assert_eq!(fake.seen().len(), 5);
}

#[tokio::test]
async fn a_wait_that_does_not_fit_is_not_begun() {
    let fake = Fake::start(|_, _| {
        with(
            429,
            &[("retry-after", "60")],
            r#"{"message":"too many lookups"}"#,
        )
    })
    .await;
    let start = Instant::now();
    let client = fake.v1().with_deadline(start + Duration::from_secs(20));
    let error = client.lookup("k", "v").await.unwrap_err();
    assert_eq!(error.kind, Kind::Timeout);
    assert!(error.message.contains("too many lookups"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_refusal_of_an_expired_token_says_that_it_has_expired() {
    let fake = Fake::start(|_, _| say(401, r#"{"message":"not authorized"}"#)).await;
    let target = |token| Target {
        api: Api::V1(fake.base.clone()),
        token,
        rest: None,
    };
    let http = Http::new(&HttpConfig::default()).unwrap();
    let denied = |token| Client::new(http.clone(), target(token), quick());
    let error = denied(token_until(1_000))
        .lookup("k", "v")
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    let description = error.description();
    let (said, rest) = description.split_once(" (").unwrap();
    assert_eq!(said, "not authorized");
    assert!(
        rest.starts_with("the token expired at 1970-01-01T00:16:40Z"),
        "{rest}"
    );
    let error = denied(token()).lookup("k", "v").await.unwrap_err();
    assert_eq!(error.description(), "not authorized");
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_hangs() {
    let fake = Fake::start(|_, _| Reply::Stall).await;
    let client = fake
        .v1()
        .with_deadline(Instant::now() + Duration::from_millis(50));
    let error = client.lookup("k", "v").await.unwrap_err();
    assert_eq!((error.kind, error.call), (Kind::Timeout, Call::Lookup));
}

#[tokio::test]
async fn a_call_and_a_transfer_that_hang_are_made_again() {
    let fake = Fake::start(|seen, n| match n {
        0 | 2 => Reply::Stall,
        _ => healthy(seen),
    })
    .await;
    let config = ClientConfig {
        call_timeout: Duration::from_millis(200),
        no_progress: Duration::from_millis(100),
        ..quick()
    };
    let client = client(Api::V2(fake.base.clone()), config);
    let reservation = reserve(&client).await;
    client
        .upload_bytes(&reservation, Bytes::from_static(b"hello"))
        .await
        .unwrap();
    assert_eq!(fake.count("PUT"), 2);
}

#[tokio::test]
async fn a_cut_body_is_an_error_of_the_stream_and_repeated_where_it_is_read_whole() {
    let fake = Fake::start(|seen, _| {
        if seen.is("GET") {
            Reply::Cut(20, "01234")
        } else {
            healthy(seen)
        }
    })
    .await;
    let client = fake.v2();
    let entry = client.lookup("key#1", "v").await.unwrap().unwrap();
    let mut stream = client.read(&entry, 0..20).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "01234");
    assert_eq!(
        stream.next().await.unwrap().unwrap_err().kind,
        Kind::Incomplete
    );
    assert!(stream.next().await.is_none());
    assert_eq!(
        client.read_all(&entry, 100).await.unwrap_err().kind,
        Kind::Incomplete
    );
    assert_eq!(fake.count("GET"), 6);
}

#[tokio::test]
async fn an_entry_that_is_too_large_is_not_read() {
    let fake = Fake::start(|seen, _| {
        if seen.is("GET") {
            say(200, "0123456789")
        } else {
            healthy(seen)
        }
    })
    .await;
    let client = fake.v2();
    let entry = client.lookup("key#1", "v").await.unwrap().unwrap();
    assert_eq!(client.read_all(&entry, 10).await.unwrap(), "0123456789");
    assert_eq!(
        client.read_all(&entry, 9).await.unwrap_err().kind,
        Kind::Protocol
    );
}

#[tokio::test]
async fn an_expired_url_is_renewed_once_for_all_readers() {
    let fake = Fake::start(|seen, _| {
        if seen.is("GET /blob?n=0") {
            say(403, "<Error><Code>AuthenticationFailed</Code></Error>")
        } else {
            range(seen, "0123456789")
        }
    })
    .await;
    let base = fake.base.clone();
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lookups);
    let api = Fake::start(move |_, _| {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        let url = base.join(&format!("/blob?n={n}&sig=0123456789")).unwrap();
        let answer =
            serde_json::json!({"ok": true, "signed_download_url": url.as_str(), "matched_key": "k"});
        say(200, answer.to_string())
    })
    .await;
    let client = api.v2();
    let entry = client.lookup("k", "v").await.unwrap().unwrap();
    let read = |range| async {
        let stream = client.read(&entry, range).await.unwrap();
        stream.try_collect::<Vec<_>>().await.unwrap().concat()
    };
    let (one, two) = join(read(0..5), read(5..10)).await;
    assert_eq!((&one[..], &two[..]), (&b"01234"[..], &b"56789"[..]));
    assert_eq!(lookups.load(Ordering::SeqCst), 2);
    // The renewed URL stays with the entry.
    assert_eq!(client.probe(&entry.clone(), 1).await.unwrap().total, 10);
    assert_eq!(lookups.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_body_that_stalls_is_read_from_a_new_url() {
    let api = Fake::start(|seen, n| match method(seen) {
        "GetCacheEntryDownloadURL" => {
            let url = seen.url(&format!("/blob?n={n}&sig=0123456789"));
            let answer =
                serde_json::json!({"ok": true, "signed_download_url": url, "matched_key": "k"});
            say(200, answer.to_string())
        }
        _ if seen.is("GET /blob?n=0") => Reply::Hold(10, "01234"),
        _ => range(seen, "0123456789"),
    })
    .await;
    let config = ClientConfig {
        no_progress: Duration::from_millis(200),
        ..quick()
    };
    let client = client(Api::V2(api.base.clone()), config);
    let entry = client.lookup("k", "v").await.unwrap().unwrap();
    let stream = client.read(&entry, 0..10).await.unwrap();
    let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind, Kind::Timeout);
    let stream = client.read(&entry, 0..10).await.unwrap();
    let again = stream.try_collect::<Vec<_>>().await.unwrap().concat();
    assert_eq!(again, b"0123456789");
    assert_eq!(api.count("POST"), 2);
}

#[tokio::test]
async fn a_url_that_stays_expired_is_an_error() {
    let fake = Fake::start(|seen, _| {
        if seen.is("GET /blob") {
            say(403, "")
        } else {
            healthy(seen)
        }
    })
    .await;
    let client = fake.v2();
    let entry = client.lookup("key#1", "v").await.unwrap().unwrap();
    assert_eq!(
        client.probe(&entry, 1).await.unwrap_err().kind,
        Kind::UrlExpired
    );
    assert_eq!(fake.seen().len(), 4);
}

#[tokio::test]
async fn a_finish_whose_answer_was_lost_is_confirmed_by_a_look() {
    let fake = Fake::start(|seen, _| match method(seen) {
        "FinalizeCacheEntryUpload" => Reply::Lose,
        _ => healthy(seen),
    })
    .await;
    let client = fake.v2();
    let reservation = reserve(&client).await;
    let content = Bytes::from_static(b"0123456789abcdefghij");
    client.upload_bytes(&reservation, content).await.unwrap();
    let calls = fake.seen();
    let finalizes = calls
        .iter()
        .filter(|seen| method(seen) == "FinalizeCacheEntryUpload");
    assert_eq!(finalizes.count(), 1);
    assert!(calls.last().unwrap().is("GET /blob"));
}

#[tokio::test]
async fn a_finish_that_did_not_happen_is_made_again() {
    let fake = Fake::start(|seen, n| match method(seen) {
        "FinalizeCacheEntryUpload" if n < 4 => say(503, ""),
        "GetCacheEntryDownloadURL" => say(200, r#"{"ok":false}"#),
        _ => healthy(seen),
    })
    .await;
    let client = fake.v2();
    let reservation = reserve(&client).await;
    client
        .upload_bytes(&reservation, Bytes::from_static(b"hello"))
        .await
        .unwrap();
    let calls = fake.seen();
    let methods: Vec<_> = calls.iter().map(method).collect();
    assert_eq!(
        methods,
        [
            "CreateCacheEntry",
            "",
            "FinalizeCacheEntryUpload",
            "GetCacheEntryDownloadURL",
            "FinalizeCacheEntryUpload"
        ]
    );
}

#[tokio::test]
async fn a_part_that_failed_is_read_again_and_lost_bytes_end_the_upload() {
    let fake = Fake::start(|seen, n| match n {
        1 => Reply::Lose,
        _ => healthy(seen),
    })
    .await;
    let client = fake.v2();
    let reservation = reserve(&client).await;
    let source = Arc::new(Bytewise {
        content: "01234567",
        ..Bytewise::default()
    });
    let same = Arc::clone(&source) as Arc<dyn Source>;
    client
        .upload(&reservation, 8, same, Arc::new(|_| {}))
        .await
        .unwrap();
    assert_eq!(*source.reads.lock().unwrap(), [0..8, 0..8]);
    let error = client
        .upload(&reservation, 9, source, Arc::new(|_| {}))
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Source);
}

/// Bytes of which one part is late, and a count of parts held in memory.
struct Late {
    arrived: Notify,
    read: AtomicUsize,
}

#[async_trait::async_trait]
impl Source for Late {
    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        if self.read.fetch_add(1, Ordering::SeqCst) == 2 {
            self.arrived.notify_one();
        }
        Ok(Bytes::from(vec![
            0;
            usize::try_from(range.end - range.start)
                .unwrap()
        ]))
    }

    async fn available(&self, end: u64) -> io::Result<()> {
        if end == 8 {
            self.arrived.notified().await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_late_part_does_not_keep_memory_from_the_others() {
    let fake = Fake::start(|seen, _| healthy(seen)).await;
    let http = HttpConfig {
        part_memory: 1,
        ..HttpConfig::default()
    };
    let client = client_over(&http, Api::V2(fake.base.clone()), quick());
    let reservation = reserve(&client).await;
    let source = Arc::new(Late {
        arrived: Notify::new(),
        read: AtomicUsize::new(0),
    });
    client
        .upload(&reservation, 32, source, Arc::new(|_| {}))
        .await
        .unwrap();
    assert!(
        fake.seen()[4].line.ends_with("blockid=MDAwMDAwMDAw"),
        "the first part came last"
    );
}

#[tokio::test]
async fn bodies_that_are_not_the_protocol_are_an_error() {
    let fake = Fake::start(|_, n| match n {
        0 => say(200, "<html>log in, please</html>"),
        1 => say(
            200,
            r#"{"ok":true,"signed_download_url":"no url","matched_key":"k"}"#,
        ),
        _ => say(200, vec![b' '; 5 << 20]),
    })
    .await;
    let client = fake.v2();
    for _ in 0..3 {
        assert_eq!(
            client.lookup("k", "v").await.unwrap_err().kind,
            Kind::Protocol
        );
    }
    assert_eq!(fake.seen().len(), 3);
}
