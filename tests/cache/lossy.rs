//! A way to the service on which single requests go wrong.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use buildkit_gha::lifecycle::{TaskGuard, Tasks};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use tokio::net::TcpListener;
use url::Url;

/// Larger than any request of these tests.
const MAX_BODY: usize = 64 << 20;

/// More requests than any test makes.
const MANY: usize = 1000;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is carried out, and the answer says 503.
    Lost,
    /// It is not carried out, and the answer says this.
    Refused(StatusCode),
    /// It is not carried out, and the answer is a success that has no end.
    Endless,
    /// It is not carried out, and the answer is a success with something else: a proxy's own page.
    Page,
    /// It is carried out after this time.
    Slow(Duration),
    /// It is carried out, and the answer ends early, whatever its head says.
    Short,
    /// It is never answered.
    Hung,
}

/// Requests whose line and body hold all of these texts.
type Mark = Vec<String>;

/// A proxy before the service.
pub struct Lossy {
    pub url: Url,
    shared: Arc<Shared>,
    _task: TaskGuard,
}

struct Shared {
    upstream: Url,
    http: reqwest::Client,
    faults: Mutex<Vec<(Mark, Fault)>>,
    seen: Mutex<Vec<String>>,
}

impl Lossy {
    pub async fn before(upstream: Url) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            http,
            faults: Mutex::default(),
            seen: Mutex::default(),
        });
        let router = axum::Router::new()
            .fallback(pass)
            .with_state(Arc::clone(&shared));
        let task = Tasks::default().spawn_guarded("proxy", async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            url: url.parse().unwrap(),
            shared,
            _task: task,
        }
    }

    /// The next request that holds all of `mark` goes wrong.
    pub fn fail(&self, mark: &[&str], fault: Fault) {
        let mark = mark.iter().map(|&text| text.to_owned()).collect();
        self.shared.faults.lock().unwrap().push((mark, fault));
    }

    /// Every request from now on that holds all of `mark` goes wrong.
    pub fn fail_always(&self, mark: &[&str], fault: Fault) {
        for _ in 0..MANY {
            self.fail(mark, fault);
        }
    }

    /// Requests go well again.
    pub fn repair(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    /// How many faults have not happened.
    pub fn left(&self) -> usize {
        self.shared.faults.lock().unwrap().len()
    }

    /// How many requests began so.
    pub fn count(&self, start: &str) -> usize {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|line| line.starts_with(start)).count()
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), MAX_BODY).await.unwrap();
    let target = head.uri.path_and_query().unwrap().as_str();
    let range = head.headers.get(http::header::RANGE);
    let range = range.map_or("", |range| range.to_str().unwrap());
    let line = format!("{} {target} {range}", head.method);
    let fault = shared.fault(&line, &body);
    shared.seen.lock().unwrap().push(line);
    if let Some(Fault::Refused(status)) = fault {
        return answer(status, Bytes::new());
    }
    if fault == Some(Fault::Hung) {
        return std::future::pending().await;
    }
    if fault == Some(Fault::Endless) {
        let flood = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'['; 8192])));
        return Response::new(Body::from_stream(flood));
    }
    if let Some(Fault::Slow(time)) = fault {
        tokio::time::sleep(time).await;
    }
    if fault == Some(Fault::Page) {
        return answer(StatusCode::OK, Bytes::from_static(b"<p>Please log in.</p>"));
    }
    let url = shared.upstream.join(target).unwrap();
    // With the client's own Host, so that signed URLs lead through here too.
    let forwarded = shared.http.request(head.method, url).headers(head.headers);
    let response = forwarded.body(body).send().await.unwrap();
    if fault == Some(Fault::Lost) {
        return answer(StatusCode::SERVICE_UNAVAILABLE, Bytes::new());
    }
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = response.bytes().await.unwrap();
    if fault == Some(Fault::Short) {
        body.truncate(body.len().div_ceil(2));
        let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let pieces = stream::iter([Ok(body), Err(cut)]);
        let mut passed = Response::new(Body::from_stream(pieces));
        *passed.status_mut() = status;
        *passed.headers_mut() = headers;
        return passed;
    }
    let mut passed = answer(status, body);
    *passed.headers_mut() = headers;
    passed
}

fn answer(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}

impl Shared {
    fn fault(&self, line: &str, body: &[u8]) -> Option<Fault> {
        // Only JSON is searched: layers are random.
        let body = std::str::from_utf8(body).unwrap_or_default();
        let mut faults = self.faults.lock().unwrap();
        let holds = |text: &String| line.contains(text) || body.contains(text);
        let at = faults.iter().position(|(mark, _)| mark.iter().all(holds))?;
        Some(faults.remove(at).1)
    }
}
