//! A service that cannot be reached costs one call its attempts, and all others nothing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use buildkit_gha::{
    actions::{Api, Client, Http, HttpConfig, Kind, NoConnection, Target},
    lifecycle::{TaskGuard, Tasks},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use url::Url;

use crate::fake::{Fake, quick, say, token};

/// Attempts of one call.
const ATTEMPTS: usize = 5;

fn client(http: &Http, base: &Url) -> Client {
    let target = Target {
        api: Api::V2(base.clone()),
        token: token(),
        rest: None,
    };
    Client::new(http.clone(), target, quick())
}

/// How often a call was tried, by the metrics.
fn attempts(config: &HttpConfig, call: &str) -> usize {
    let metrics = config.metrics.render();
    let counter = format!("buildkit_gha_remote_calls_total{{operation=\"{call}\",");
    let lines = metrics.lines().filter(|line| line.starts_with(&counter));
    let counts = lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap());
    counts.sum()
}

async fn lookup(client: &Client) -> Result<(), Kind> {
    let found = client.lookup("k", "v").await;
    found.map(drop).map_err(|error| error.kind)
}

/// A URL whose port nobody listens on.
async fn closed_port() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    format!("http://{address}/").parse().unwrap()
}

/// An https URL of a server that speaks no TLS, and counts the connections that are tried.
struct PlainServer {
    url: Url,
    connections: Arc<AtomicUsize>,
    _task: TaskGuard,
}

impl PlainServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let serve = async move {
            let mut answers = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                answers.spawn(answer_plainly(socket));
            }
        };
        Self {
            url: url.parse().unwrap(),
            connections,
            _task: Tasks::default().spawn_guarded("plain server", serve),
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn answer_plainly(mut socket: TcpStream) -> std::io::Result<()> {
    let mut hello = [0; 4096];
    let _ = socket.read(&mut hello).await?;
    socket.write_all(b"HTTP/1.1 400 no TLS\r\n\r\n").await?;
    // A connection that is closed with bytes unread is reset, and the answer lost.
    while socket.read(&mut hello).await? > 0 {}
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_is_remembered_for_all_clients() {
    let config = HttpConfig::default();
    let http = Http::new(&config).unwrap();
    let url = closed_port().await;
    let refused = Err(Kind::Unreachable(NoConnection::Refused));
    let first = client(&http, &url);
    assert_eq!(lookup(&first).await, refused);
    assert_eq!(attempts(&config, "lookup"), ATTEMPTS);
    // Of all calls of the next build one is sent.
    let next = client(&http, &url);
    for _ in 0..10 {
        let error = next.reserve("k", "v").await.unwrap_err();
        assert_eq!(error.kind, Kind::Unreachable(NoConnection::Refused));
        assert!(error.message.contains("Connection refused"), "{error}");
        assert_eq!(lookup(&next).await, refused);
    }
    assert_eq!(attempts(&config, "lookup"), ATTEMPTS);
    assert_eq!(attempts(&config, "reserve"), 1);
    // Bytes that were promised are worth all attempts.
    assert_eq!(lookup(&next.ignoring_outages()).await, refused);
    assert_eq!(attempts(&config, "lookup"), 2 * ATTEMPTS);
    // Another service is another matter.
    let healthy = Fake::start(|_, _| say(200, r#"{"ok":false}"#)).await;
    assert_eq!(lookup(&client(&http, &healthy.base)).await, Ok(()));
}

#[tokio::test]
async fn a_service_that_comes_back_is_found_by_the_probe_of_the_next_build() {
    let http = Http::new(&HttpConfig::default()).unwrap();
    let url = closed_port().await;
    let dead = client(&http, &url);
    assert!(lookup(&dead).await.is_err());
    let fake = Fake::start_at(url.port().unwrap(), |_, _| say(200, r#"{"ok":false}"#)).await;
    let next = client(&http, &url);
    let (one, other) = futures_util::future::join(lookup(&next), lookup(&next)).await;
    assert_eq!(
        (one, other),
        (Ok(()), Ok(())),
        "the others wait for the probe"
    );
    // Nothing is left of it for the first build either.
    assert_eq!(lookup(&dead).await, Ok(()));
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn a_host_that_nobody_knows_is_asked_for_once() {
    let config = HttpConfig::default();
    let http = Http::new(&config).unwrap();
    let url = "http://cache.invalid/".parse().unwrap();
    let unknown = Err(Kind::Unreachable(NoConnection::UnknownHost));
    assert_eq!(lookup(&client(&http, &url)).await, unknown);
    assert_eq!(attempts(&config, "lookup"), 1);
}

#[tokio::test]
async fn tls_that_cannot_be_agreed_on_is_tried_once() {
    let http = Http::new(&HttpConfig::default()).unwrap();
    let plain = PlainServer::start().await;
    let first = client(&http, &plain.url).lookup("k", "v").await;
    let error = first.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable(NoConnection::Tls));
    assert!(
        error.message.contains("should the URL begin with http://?"),
        "{error}"
    );
    assert_eq!(plain.connections(), 1);
    // Of all calls of the next build one is sent.
    let no_tls = Kind::Unreachable(NoConnection::Tls);
    let next = client(&http, &plain.url);
    for _ in 0..10 {
        assert_eq!(next.reserve("k", "v").await.unwrap_err().kind, no_tls);
        assert_eq!(lookup(&next).await, Err(no_tls.clone()));
    }
    assert_eq!(plain.connections(), 2);
    let promised = next.ignoring_outages();
    assert_eq!(lookup(&promised).await, Err(no_tls));
    assert_eq!(plain.connections(), 2 + ATTEMPTS);
}
