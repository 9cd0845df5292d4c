//! A service on a real socket: a function from request to reply, and a record of all requests.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use buildkit_gha::{
    actions::{
        Api, Client, ClientConfig, Http, HttpConfig, RestClient, RestTarget, RetryPolicy, Source,
        Target, Token,
    },
    lifecycle::{TaskGuard, Tasks},
    secret::Secret,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use url::Url;

/// Part of each token, and of each signed URL: what must never be seen.
pub const TOKEN_MARK: &str = "dG9rZW4tbWFyaw";
/// See [`TOKEN_MARK`].
pub const SIGNATURE: &str = "signature-mark";

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub line: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    /// True if the method, path and query begin so.
    pub fn is(&self, start: &str) -> bool {
        self.line.starts_with(start)
    }

    /// A header's value, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A URL of the same service.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.header("host"))
    }
}

/// What the service does.
pub enum Reply {
    Say(Response<Full<Bytes>>),
    /// Closes the connection without an answer.
    Lose,
    /// Promises so many bytes and closes after the given ones.
    Cut(u64, &'static str),
    /// Promises a range of so many bytes and sends no more than the given ones.
    Hold(u64, &'static str),
    /// Never answers.
    Stall,
}

pub fn say(status: u16, body: impl Into<Bytes>) -> Reply {
    with(status, &[], body)
}

pub fn with(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name: header::HeaderName = name.parse().unwrap();
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    Reply::Say(response)
}

/// Serves the range that is asked for.
pub fn range(seen: &Seen, content: &str) -> Reply {
    let total = content.len();
    let (start, last) = seen.header("range")["bytes=".len()..]
        .split_once('-')
        .unwrap();
    let start: usize = start.parse().unwrap();
    let end = (last.parse::<usize>().unwrap() + 1).min(total);
    let value = format!("bytes {start}-{}/{total}", end - 1);
    with(
        206,
        &[("content-range", &value)],
        content[start..end].to_owned(),
    )
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

/// The service.
pub struct Fake {
    pub base: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: TaskGuard,
}

impl Fake {
    /// Starts a service. The script gets each request and how many came before it.
    pub async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(0, None, script).await
    }

    /// Starts a service on this port.
    pub async fn start_at(
        port: u16,
        script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(port, None, script).await
    }

    /// Starts a service behind TLS, whose certificate is for `localhost`.
    pub async fn start_tls(
        tls: TlsAcceptor,
        script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(0, Some(tls), script).await
    }

    async fn start_with(
        port: u16,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = match &tls {
            Some(_) => format!("https://localhost:{}/root/", address.port()),
            None => format!("http://{address}/root/"),
        };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let serve = serve(listener, tls, Arc::new(script), Arc::clone(&seen));
        Self {
            base: base.parse().unwrap(),
            seen,
            _task: Tasks::default().spawn_guarded("fake", serve),
        }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Methods and paths without queries, in order.
    pub fn calls(&self) -> Vec<String> {
        let path = |seen: Seen| seen.line.split('?').next().unwrap().to_owned();
        self.seen().into_iter().map(path).collect()
    }

    /// How many requests begin so.
    pub fn count(&self, start: &str) -> usize {
        self.seen().iter().filter(|seen| seen.is(start)).count()
    }

    pub fn v1(&self) -> Client {
        client(Api::V1(self.base.clone()), quick())
    }

    pub fn v2(&self) -> Client {
        client(Api::V2(self.base.clone()), quick())
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Seen>>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (tls, script, log) = (tls.clone(), Arc::clone(&script), Arc::clone(&log));
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, &*script, &log));
            let http = http1::Builder::new();
            // A connection ends with an error where the script, or a client without trust, says so.
            let _ = match tls {
                None => http.serve_connection(TokioIo::new(socket), service).await,
                Some(tls) => match tls.accept(socket).await {
                    Ok(socket) => http.serve_connection(TokioIo::new(socket), service).await,
                    Err(_) => Ok(()),
                },
            };
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    script: &Script,
    log: &Mutex<Vec<Seen>>,
) -> io::Result<Response<BoxBody<Bytes, io::Error>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let target = head.uri.path_and_query().unwrap();
    let seen = Seen {
        line: format!("{} {target}", head.method),
        headers: head.headers,
        body,
    };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.len() - 1
    };
    match script(&seen, before) {
        Reply::Say(response) => {
            Ok(response.map(|body| body.map_err(|never: Infallible| match never {}).boxed()))
        }
        Reply::Lose => Err(io::Error::other("lost")),
        Reply::Cut(total, text) => {
            // The pause lets the head and the first bytes out before the connection ends.
            let first = stream::iter([Ok(Frame::data(Bytes::from_static(text.as_bytes())))]);
            let cut = stream::once(async {
                tokio::task::yield_now().await;
                Err(io::Error::other("cut"))
            });
            let mut response = Response::new(http_body_util::BodyExt::boxed(StreamBody::new(
                first.chain(cut),
            )));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_LENGTH, total.into());
            Ok(response)
        }
        Reply::Hold(total, text) => {
            let first = stream::iter([Ok(Frame::data(Bytes::from_static(text.as_bytes())))]);
            let silent = StreamBody::new(first.chain(stream::pending()));
            let range = format!("bytes 0-{}/{total}", total - 1);
            let response = Response::builder()
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_LENGTH, total)
                .header(header::CONTENT_RANGE, range);
            let body = http_body_util::BodyExt::boxed(silent);
            Ok(response.body(body).unwrap())
        }
        Reply::Stall => std::future::pending().await,
    }
}

/// A token for `refs/heads/main`, read and write.
pub fn token() -> Token {
    token_until(4_000_000_000)
}

/// The same, which expires at a Unix time.
pub fn token_until(expires: u64) -> Token {
    let ac = r#"[{"Scope":"refs/heads/main","Permission":3}]"#;
    let claims = json!({"ac": ac, "nbf": 0, "exp": expires});
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    Token::parse(Secret::new(format!("e30.{payload}.{TOKEN_MARK}"))).unwrap()
}

pub fn client(api: Api, config: ClientConfig) -> Client {
    client_over(&HttpConfig::default(), api, config)
}

pub fn client_over(http: &HttpConfig, api: Api, config: ClientConfig) -> Client {
    let (Api::V1(base) | Api::V2(base)) = &api;
    let target = Target {
        token: token(),
        rest: Some(rest_target(base)),
        api,
    };
    Client::new(Http::new(http).unwrap(), target, config)
}

fn rest_target(base: &Url) -> RestTarget {
    RestTarget {
        base: base.clone(),
        repository: "owner/repo".to_owned(),
        token: Secret::new(TOKEN_MARK),
    }
}

/// A client of the REST API there, without a runtime token.
pub fn rest_client(base: &Url) -> RestClient {
    let http = Http::new(&HttpConfig::default()).unwrap();
    RestClient::new(http, rest_target(base), quick())
}

/// A configuration with small parts and short waits, and limits that no healthy call reaches.
pub fn quick() -> ClientConfig {
    ClientConfig {
        part_bytes: 8,
        call_timeout: Duration::from_secs(20),
        no_progress: Duration::from_secs(20),
        retry: RetryPolicy {
            first_wait: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        ..ClientConfig::default()
    }
}

/// Bytes for an upload, whose every read is counted.
#[derive(Default)]
pub struct Bytewise {
    pub content: &'static str,
    pub reads: Mutex<Vec<std::ops::Range<u64>>>,
}

#[async_trait::async_trait]
impl Source for Bytewise {
    async fn read(&self, range: std::ops::Range<u64>) -> io::Result<Bytes> {
        self.reads.lock().unwrap().push(range.clone());
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        let text = self.content.get(range).ok_or(io::ErrorKind::NotFound)?;
        Ok(Bytes::from_static(text.as_bytes()))
    }
}
