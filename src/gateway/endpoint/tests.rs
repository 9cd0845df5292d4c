//! The endpoint over real HTTP, in front of a backend that holds one entry.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::SignedDuration;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header};
use tokio::sync::watch;

use super::*;
use crate::protocol::{
    key::{MAX_KEY_CHARS, MAX_LOOKUP_KEYS},
    scope::Permission,
    v1,
};

mod ended;

const CONTENT: &[u8] = b"an index";

/// Has one entry under "key", and one whose bytes never end under "endless".
pub(super) struct Fixed;

#[async_trait]
impl Backend for Fixed {
    async fn lookup(&self, keys: &[&str], _version: &str) -> Result<Option<Found>, BackendError> {
        let object: Arc<dyn Object> = match keys {
            ["key"] => Arc::new(Bytes::from_static(CONTENT)),
            ["endless"] => Arc::new(Endless),
            ["broken"] => {
                return Err(BackendError::new(
                    ErrorKind::Upstream,
                    "the service said no",
                ));
            }
            _ => return Ok(None),
        };
        let key = keys[0].to_owned();
        Ok(Some(Found { key, object }))
    }

    async fn write(
        &self,
        _: i64,
        _: std::ops::Range<u64>,
        mut body: Body,
    ) -> Result<(), BackendError> {
        while let Some(piece) = body.next().await {
            piece.map_err(|error| BackendError::new(ErrorKind::InvalidRequest, error))?;
        }
        Ok(())
    }
}

struct Endless;

#[async_trait]
impl Object for Endless {
    async fn open(&self) -> Result<Box<dyn Readable>, BackendError> {
        Ok(Box::new(Self))
    }
}

impl Readable for Endless {
    fn size(&self) -> u64 {
        1 << 40
    }

    fn read(self: Box<Self>, _range: std::ops::Range<u64>) -> Body {
        let first = stream::once(async { Ok(Bytes::from_static(b"first")) });
        first.chain(stream::pending()).boxed()
    }
}

/// Everything that it is asked for has no end. Whoever reads is counted.
#[derive(Clone, Default)]
struct Flood(watch::Sender<()>);

#[async_trait]
impl Backend for Flood {
    async fn lookup(&self, keys: &[&str], _version: &str) -> Result<Option<Found>, BackendError> {
        Ok(Some(Found {
            key: keys[0].to_owned(),
            object: Arc::new(self.clone()),
        }))
    }
}

#[async_trait]
impl Object for Flood {
    async fn open(&self) -> Result<Box<dyn Readable>, BackendError> {
        Ok(Box::new(self.clone()))
    }
}

impl Readable for Flood {
    fn size(&self) -> u64 {
        1 << 40
    }

    fn read(self: Box<Self>, _range: std::ops::Range<u64>) -> Body {
        let reading = self.0.subscribe();
        let zeros = Bytes::from(vec![0; 64 << 10]);
        let piece = move || {
            let _counted = &reading;
            Ok(zeros.clone())
        };
        stream::repeat_with(piece).boxed()
    }
}

struct Fixture {
    endpoint: Endpoint,
    access: Access,
    http: Client,
    _tasks: Tasks,
}

impl Fixture {
    async fn new() -> Self {
        Self::with_stall_timeout(STALL_TIMEOUT).await
    }

    async fn with_stall_timeout(stall_timeout: Duration) -> Self {
        let tasks = Tasks::default();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = Endpoint::bind(any, None, None, stall_timeout, &tasks)
            .await
            .unwrap();
        let access = open(&endpoint, SignedDuration::from_hours(1));
        Self {
            endpoint,
            access,
            http: Client::builder().no_proxy().build().unwrap(),
            _tasks: tasks,
        }
    }

    async fn lookup(&self, key: &str) -> Response {
        self.lookup_at(&self.access, key, self.access.token.expose())
            .await
    }

    async fn lookup_at(&self, access: &Access, key: &str, token: &str) -> Response {
        let path = format!("_apis/artifactcache/cache?keys={key}&version=v");
        let call = self.http.get(access.url.expose().join(&path).unwrap());
        call.bearer_auth(token).send().await.unwrap()
    }

    /// A call below a handle's URL.
    fn call(&self, method: Method, base: &Url, path: &str) -> RequestBuilder {
        let path = format!("_apis/artifactcache/{path}");
        self.http.request(method, base.join(&path).unwrap())
    }

    /// A call below our handle, with its token.
    fn ours(&self, method: Method, path: &str) -> RequestBuilder {
        self.call(method, self.access.url.expose(), path)
            .bearer_auth(self.access.token.expose())
    }

    async fn object(&self, key: &str) -> Url {
        self.object_at(&self.access, key).await
    }

    async fn object_at(&self, access: &Access, key: &str) -> Url {
        let answer = self.lookup_at(access, key, access.token.expose()).await;
        let entry: v1::Entry = answer.json().await.unwrap();
        assert_eq!(entry.cache_key, key);
        entry.archive_location.expose().clone()
    }
}

fn open(endpoint: &Endpoint, life: SignedDuration) -> Access {
    open_before(endpoint, Arc::new(Fixed), life)
}

fn open_before(endpoint: &Endpoint, backend: Arc<dyn Backend>, life: SignedDuration) -> Access {
    let scopes = [Scope::new("refs/heads/main", Permission::READ)];
    endpoint.open(backend, &scopes, Timestamp::now() + life)
}

#[tokio::test]
async fn a_lookup_needs_the_handles_own_token() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.lookup("key").await.status(), StatusCode::OK);
    assert_eq!(
        fixture.lookup("other").await.status(),
        StatusCode::NO_CONTENT
    );

    let other = open(&fixture.endpoint, SignedDuration::from_hours(1));
    for wrong in ["", "x", other.token.expose()] {
        let answer = fixture.lookup_at(&fixture.access, "key", wrong).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let mut unknown = fixture.access.clone();
    unknown.url = SecretUrl::new(fixture.endpoint.url.join("0123456789abcdef/").unwrap());
    let answer = fixture.lookup_at(&unknown, "key", fixture.access.token.expose());
    assert_eq!(answer.await.status(), StatusCode::UNAUTHORIZED);
}

/// The answer to a caller without the token depends on nothing but the kind of call.
#[tokio::test]
async fn unauthorized_callers_do_not_learn_whether_a_handle_exists() {
    let fixture = Fixture::new().await;
    let ours = fixture.access.url.expose().clone();
    let unknown = fixture
        .endpoint
        .url
        .join(&format!("{}/", "0".repeat(32)))
        .unwrap();
    let token = fixture.access.token.expose();
    let same_length = "x".repeat(token.len());
    let one_byte_off = format!("{}!", &token[..token.len() - 1]);
    for (method, path) in [
        (Method::GET, "cache?keys=key&version=v"),
        (Method::GET, "cache?nothing=known"),
        (Method::POST, "caches"),
        (Method::POST, "caches/1"),
        (Method::POST, "caches/no-number"),
        (Method::PATCH, "caches/1"),
    ] {
        let mut answers = Vec::new();
        for (base, token) in [
            (&unknown, token),
            (&unknown, ""),
            (&ours, ""),
            (&ours, same_length.as_str()),
            (&ours, one_byte_off.as_str()),
        ] {
            let call = fixture.call(method.clone(), base, path).bearer_auth(token);
            let answer = call.body("no JSON").send().await.unwrap();
            let mut headers = answer.headers().clone();
            headers.remove(header::DATE);
            answers.push((answer.status(), headers, answer.bytes().await.unwrap()));
        }
        assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:?}"
        );
    }
}

#[tokio::test]
async fn what_a_call_may_carry_is_bounded() {
    let fixture = Fixture::new().await;
    let lookup = |keys: String| fixture.ours(Method::GET, &format!("cache?keys={keys}&version=v"));
    let reserve = |key: String| {
        let body = serde_json::json!({"key": key, "version": "v"});
        fixture.ours(Method::POST, "caches").json(&body)
    };
    let write = |range: &'static str| {
        let call = fixture.ours(Method::PATCH, "caches/1");
        call.header(header::CONTENT_RANGE, range).body("12345")
    };
    let long = |length| "k".repeat(length);
    for (what, call, status) in [
        ("many keys", lookup(["k"; MAX_LOOKUP_KEYS].join(",")), 204),
        (
            "too many keys",
            lookup(["k"; MAX_LOOKUP_KEYS + 1].join(",")),
            400,
        ),
        ("a long key", lookup(long(MAX_KEY_CHARS)), 204),
        ("a longer key", lookup(long(MAX_KEY_CHARS + 1)), 400),
        (
            "a longer key to write",
            reserve(long(MAX_KEY_CHARS + 1)),
            400,
        ),
        ("a huge message", reserve(long(1 << 20)), 413),
        ("all of a range", write("bytes 0-4/*"), 204),
        ("more than its range", write("bytes 0-3/*"), 400),
        ("no range", write("bytes 4-0/*"), 400),
        (
            "a huge head",
            lookup(String::new()).header("x", long(2 * LIMITS.head_bytes)),
            431,
        ),
    ] {
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{what}");
    }
}

#[tokio::test]
async fn one_key_has_one_url_and_another_handle_another() {
    let fixture = Fixture::new().await;
    let url = fixture.object("key").await;
    assert_eq!(fixture.object("key").await, url);
    let name = |url: &Url| url.path_segments().unwrap().next_back().unwrap().to_owned();
    assert_ne!(name(&fixture.object("endless").await), name(&url));

    let other = open(&fixture.endpoint, SignedDuration::from_hours(1));
    let entry = fixture.lookup_at(&other, "key", other.token.expose()).await;
    let entry: v1::Entry = entry.json().await.unwrap();
    assert_ne!(name(entry.archive_location.expose()), name(&url));
    let crossed = other.url.expose().join(&format!("objects/{}", name(&url)));
    let crossed = fixture.http.get(crossed.unwrap()).send().await.unwrap();
    assert_eq!(crossed.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_object_is_served_without_a_token_whole_and_in_parts() {
    let fixture = Fixture::new().await;
    let url = fixture.object("key").await;
    let whole = fixture.http.get(url.clone()).send().await.unwrap();
    assert_eq!(whole.bytes().await.unwrap(), CONTENT);
    let part = fixture
        .http
        .get(url.clone())
        .header(header::RANGE, "bytes=3-");
    let part = part.send().await.unwrap();
    assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 3-7/8");
    assert_eq!(part.bytes().await.unwrap(), &CONTENT[3..]);

    for (range, status) in [
        ("bytes=8-", StatusCode::RANGE_NOT_SATISFIABLE),
        ("bytes=5-3", StatusCode::BAD_REQUEST),
    ] {
        let refused = fixture.http.get(url.clone()).header(header::RANGE, range);
        assert_eq!(refused.send().await.unwrap().status(), status, "{range}");
    }
    let unknown = url.join("0123456789abcdef").unwrap();
    let unknown = fixture.http.get(unknown).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_reader_that_stops_reading_loses_its_connection_and_others_go_on() {
    let fixture = Fixture::with_stall_timeout(Duration::from_millis(100)).await;
    let flood = Flood::default();
    let backend = Arc::new(flood.clone());
    let access = open_before(&fixture.endpoint, backend, SignedDuration::from_hours(1));
    let url = fixture.object_at(&access, "flood").await;
    let mut stalled = fixture.http.get(url.clone()).send().await.unwrap();
    let mut going = fixture.http.get(url).send().await.unwrap();
    assert_eq!(flood.0.receiver_count(), 2);

    let cut = async {
        while flood.0.receiver_count() == 2 {
            going.chunk().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), cut)
        .await
        .expect("the reader that stalls is cut");
    going.chunk().await.unwrap().expect("the other one reads");
    let rest = loop {
        match stalled.chunk().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(rest.is_err(), "a body that was cut is not a whole one");
}

#[tokio::test]
async fn a_failure_is_told_in_the_services_words() {
    let fixture = Fixture::new().await;
    let answer = fixture.lookup("broken").await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    let body: v1::ErrorBody = answer.json().await.unwrap();
    assert_eq!(body.message, "the service said no");
}

#[test]
fn the_status_line_says_what_failed() {
    let refusal =
        error::ErrorResponse::new(StatusCode::BAD_GATEWAY, "gone:\nsha256:… is not there");
    let response = axum::response::IntoResponse::into_response(refusal);
    let phrase = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let phrase = phrase.map(|phrase| phrase.as_bytes().to_vec());
    assert_eq!(phrase.unwrap(), b"gone: sha256:  is not there");
}

#[tokio::test]
async fn nothing_can_be_written_through_an_import() {
    let fixture = Fixture::new().await;
    let url = fixture
        .access
        .url
        .expose()
        .join("_apis/artifactcache/caches");
    let call = fixture.http.post(url.unwrap()).json(&v1::ReserveRequest {
        key: "key".into(),
        version: "v".into(),
        cache_size: None,
    });
    let call = call.bearer_auth(fixture.access.token.expose());
    assert_eq!(call.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}
