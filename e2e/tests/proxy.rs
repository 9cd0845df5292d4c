//! The proxy that makes faults makes those that it is told to, and no other.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Answer, Http, Lab, Service},
    proxy::{Fault, Link, Operation, Proxy, Rule, Subject, Tally, When},
};

/// More than sockets hold in their buffers, so that a half is less than all.
const BYTES: usize = 8 << 20;

/// How long a connection that never answers is watched.
const SILENCE: Duration = Duration::from_millis(500);

/// A service with one layer, and a proxy in front of it.
struct Fixture {
    proxy: Proxy,
    service: Service,
    content: Vec<u8>,
    http: Http,
}

impl Fixture {
    fn new() -> Self {
        Self::on(Link::NONE)
    }

    fn on(link: Link) -> Self {
        let lab = Lab::new();
        let service = Service::start(&lab);
        let token = service.token(&["refs/heads/main=rw"]);
        let proxy = Proxy::with_link(&service, link);
        let http = Http::new(address(&proxy)).token(&token);
        let http = http.header("Content-Type", "application/json");
        let content = (0..BYTES).map(|i| u8::try_from(i % 251).expect("below 251"));
        let fixture = Self {
            proxy,
            service,
            content: content.collect(),
            http,
        };
        fixture.upload("buildkit-blob-1-sha256:1");
        fixture
    }

    /// v2's own words, with the path of the answered URL.
    fn call(&self, method: &str, body: &serde_json::Value, url: &str) -> String {
        let path = format!("/twirp/github.actions.results.api.v1.CacheService/{method}");
        let answer = self.http.send("POST", &path, body.to_string().as_bytes());
        let answer = answer.expect("an answer").json();
        let url = answer[url].as_str().unwrap_or_default();
        let local = url.strip_prefix(self.proxy.url().trim_end_matches('/'));
        local.unwrap_or_default().to_owned()
    }

    fn upload(&self, key: &str) {
        let named = serde_json::json!({ "key": key, "version": "v" });
        let url = self.call("CreateCacheEntry", &named, "signed_upload_url");
        let put = self.http.send("PUT", &url, &self.content);
        assert_eq!(put.expect("an answer").status, 201);
        let size = serde_json::json!({ "key": key, "version": "v", "size_bytes": BYTES });
        self.call("FinalizeCacheEntryUpload", &size, "");
    }

    fn url(&self) -> String {
        let named = serde_json::json!({ "key": "buildkit-blob-1-sha256:1", "version": "v" });
        self.call("GetCacheEntryDownloadURL", &named, "signed_download_url")
    }

    fn get(&self) -> std::io::Result<Answer> {
        self.http.send("GET", &self.url(), b"")
    }

    /// The next GET of a layer has this fault, and the one after it has none.
    fn once(&self, fault: Fault) -> std::io::Result<Answer> {
        let rule = Rule::new(fault, When::First(1)).on(Operation::Read);
        let rule = self.proxy.rule(rule.about(Subject::Layer));
        let answer = self.get();
        assert_eq!(rule.hits(), 1, "{fault:?}");
        assert_eq!(
            self.get().expect("no fault").body,
            self.content,
            "{fault:?}"
        );
        self.proxy.clear();
        answer
    }
}

fn address(proxy: &Proxy) -> SocketAddr {
    let url = proxy.url();
    let address = url
        .strip_prefix("http://")
        .and_then(|url| url.strip_suffix('/'));
    address.expect("a URL").parse().expect("an address")
}

fn kind(answer: std::io::Result<Answer>) -> ErrorKind {
    answer.expect_err("no answer").kind()
}

#[test]
fn answers_instead_of_the_operation() {
    let fixture = Fixture::new();
    let said = |fault| fixture.once(fault).expect("an answer");
    assert_eq!(said(Fault::Status(503)).status, 503);
    let throttled = said(Fault::Throttled(Some(7)));
    assert_eq!(throttled.status, 429);
    assert_eq!(throttled.header("retry-after"), Some("7"));
    assert_eq!(said(Fault::Throttled(None)).header("retry-after"), None);
    let expired = said(Fault::Expired);
    assert_eq!(expired.status, 403);
    assert!(String::from_utf8_lossy(&expired.body).contains("AuthenticationFailed"));
}

#[test]
fn connections_end_or_fall_silent() {
    let fixture = Fixture::new();
    for fault in [Fault::ResetAtOnce, Fault::ResetAnswer, Fault::LostAnswer] {
        assert_eq!(
            kind(fixture.once(fault)),
            ErrorKind::ConnectionReset,
            "{fault:?}"
        );
    }
    let silent = Fixture {
        http: fixture.http.clone().timeout(SILENCE),
        ..fixture
    };
    for fault in [Fault::Hang, Fault::StallAnswer] {
        assert_eq!(kind(silent.once(fault)), ErrorKind::WouldBlock, "{fault:?}");
    }
    // An answer was lost, but not what it was an answer to.
    assert!(silent.service.sent_bytes() > BYTES as u64);
}

#[test]
fn bytes_are_missing_or_wrong() {
    let fixture = Fixture::new();
    let cut = fixture.once(Fault::Truncate).expect("a clean end");
    assert!(!cut.is_whole() && fixture.content.starts_with(&cut.body));
    let short = fixture.once(Fault::Short).expect("an answer");
    assert!(short.is_whole() && short.body.len() == BYTES / 2);
    let empty = fixture.once(Fault::Empty).expect("an answer");
    assert!(empty.is_whole() && empty.body.is_empty());
    let long = fixture.once(Fault::Long).expect("an answer");
    assert!(long.is_whole() && long.body.starts_with(&fixture.content) && long.body.len() > BYTES);
    let another = fixture.once(Fault::Another).expect("an answer");
    assert!(another.status == 200 && another.is_whole() && another.body.len() == BYTES / 2);
    let flipped = fixture.once(Fault::Flip).expect("an answer");
    assert!(flipped.is_whole() && flipped.body.len() == BYTES);
    let differs = flipped
        .body
        .iter()
        .zip(&fixture.content)
        .filter(|(one, other)| one != other);
    assert_eq!(differs.count(), 1);

    let rule = Rule::new(Fault::WrongTotal, When::Always).on(Operation::Probe);
    fixture.proxy.rule(rule);
    let probe = fixture.http.clone().header("Range", "bytes=0-9");
    let probe = probe.send("GET", &fixture.url(), b"").expect("an answer");
    let told = format!("bytes 0-9/{}", BYTES + 1);
    assert_eq!(probe.header("content-range"), Some(told.as_str()));
}

#[test]
fn an_upload_ends_in_its_middle_and_leaves_nothing() {
    let fixture = Fixture::new();
    let named = serde_json::json!({ "key": "buildkit-blob-1-sha256:2", "version": "v" });
    let url = fixture.call("CreateCacheEntry", &named, "signed_upload_url");
    let http = fixture.http.clone().timeout(SILENCE);
    for (fault, expected) in [
        (
            Fault::ResetRequest,
            &[ErrorKind::ConnectionReset, ErrorKind::BrokenPipe][..],
        ),
        (Fault::StallRequest, &[ErrorKind::WouldBlock][..]),
    ] {
        let rule = Rule::new(fault, When::Always).on(Operation::PutBlob);
        let rule = fixture.proxy.rule(rule.about(Subject::Layer));
        let ended = kind(http.send("PUT", &url, &fixture.content));
        assert!(expected.contains(&ended), "{fault:?}: {ended:?}");
        assert_eq!(rule.hits(), 1);
        fixture.proxy.clear();
    }
    let put = fixture.http.send("PUT", &url, &fixture.content);
    assert_eq!(put.expect("an answer").status, 201);
}

#[test]
fn a_closed_port_refuses_and_opens_again() {
    let fixture = Fixture::new();
    let url = fixture.url();
    let get = || fixture.http.send("GET", &url, b"");
    for when in [When::First(1), When::Always] {
        let rule = fixture
            .proxy
            .rule(Rule::new(Fault::Refuse, when).on(Operation::Read));
        assert_eq!(kind(get()), ErrorKind::ConnectionReset);
        // The listener closes a moment after the reset.
        let refused = (0..1000)
            .map(|_| kind(get()))
            .find(|kind| *kind == ErrorKind::ConnectionRefused);
        assert!(refused.is_some(), "{when:?}");
        assert_eq!(rule.hits(), 1);
        if when == When::Always {
            fixture.proxy.clear();
        }
        let opened = std::iter::repeat_with(get)
            .take(1_000_000)
            .find_map(Result::ok);
        assert!(
            opened.is_some_and(|answer| answer.status == 200),
            "{when:?}"
        );
    }
}

#[test]
fn a_share_is_the_same_in_every_run() {
    let fixture = Fixture::new();
    let hits = |seed| {
        let rule = Rule::new(Fault::Status(500), When::Percent(5, seed));
        let rule = fixture.proxy.rule(rule.on(Operation::List));
        for _ in 0..200 {
            fixture
                .http
                .send("GET", "/repos/local/cache/actions/caches", b"")
                .expect("an answer");
        }
        fixture.proxy.clear();
        rule.hits()
    };
    let first = hits(1);
    assert_eq!(first, hits(1));
    assert!((2..=25).contains(&first), "{first} of 200");
}

#[test]
fn hundreds_of_connections_at_once() {
    let fixture = Fixture::new();
    fixture
        .proxy
        .rule(Rule::new(Fault::Hang, When::Always).on(Operation::List));
    let before = fixture.proxy.requests(Operation::List);
    let http = fixture.http.clone().timeout(Duration::from_secs(5));
    thread::scope(|scope| {
        for _ in 0..300 {
            scope.spawn(|| http.send("GET", "/repos/local/cache/actions/caches", b""));
        }
    });
    assert_eq!(fixture.proxy.requests(Operation::List) - before, 300);
    assert_eq!(fixture.proxy.max_in_flight(), 300);
}

/// A second for each call, and half a second for the bytes of the layer.
const HALTING: Link = Link {
    api: Duration::from_secs(1),
    blob: Duration::from_secs(1),
    per_connection: Some(16 << 20),
    in_all: Some(16 << 20),
};

#[test]
fn a_link_holds_calls_and_bytes() {
    let fixture = Fixture::on(HALTING);
    let url = fixture.url();
    fixture.proxy.restart_tally();
    let begun = Instant::now();
    let answers = thread::scope(|scope| {
        let get = || fixture.http.send("GET", &url, b"").expect("an answer");
        let gets: Vec<_> = (0..4).map(|_| scope.spawn(get)).collect();
        let bodies = gets.into_iter().map(|get| get.join().expect("a body").body);
        bodies.collect::<Vec<_>>()
    });
    let took = begun.elapsed();
    assert!(answers.iter().all(|answer| *answer == fixture.content));
    // The second passes for all of them at once, the halves one after the other.
    assert!(took >= Duration::from_millis(2900), "{took:?}");
    let tally = fixture.proxy.tally();
    let expected = Tally {
        blob: 4,
        down: 4 * BYTES as u64,
        most_in_flight: 4,
        ..Tally::default()
    };
    assert_eq!(tally, expected);
}

#[test]
fn a_link_lets_calls_wait_side_by_side() {
    const CALLS: u32 = 40;
    let fixture = Fixture::on(Link {
        per_connection: None,
        in_all: None,
        ..HALTING
    });
    fixture.proxy.restart_tally();
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CALLS {
            scope.spawn(|| fixture.url());
        }
    });
    let took = begun.elapsed();
    assert!(took >= HALTING.api, "{took:?}");
    assert!(took < HALTING.api * CALLS / 2, "{took:?}");
    assert_eq!(fixture.proxy.tally().api, u64::from(CALLS));
}
