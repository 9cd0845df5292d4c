//! A service that cannot be reached costs one call its attempts, and all others nothing.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use buildkit_gha::actions::{Api, Call, Client, Http, HttpConfig, Kind, NoConnection, Target};
use tokio::net::TcpListener;
use tracing::{
    Event,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};
use url::Url;

use crate::fake::{Fake, quick, say, token};

/// Attempts of one call.
const ATTEMPTS: usize = 5;

/// The requests that were sent, as the log tells: nobody else sees those to a closed port.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    /// Counts what this thread sends, as long as the guard is kept.
    fn count(&self) -> DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    fn sent(&self, call: Call) -> usize {
        let calls = self.0.lock().unwrap();
        calls.iter().filter(|name| *name == call.name()).count()
    }
}

impl<S: tracing::Subscriber> Layer<S> for Calls {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.message == "call" {
            self.0.lock().unwrap().push(fields.call);
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    call: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "call" {
            value.clone_into(&mut self.call);
        }
    }
}

fn client(http: &Http, base: &Url) -> Client {
    let target = Target {
        api: Api::V2(base.clone()),
        token: token(),
        rest: None,
    };
    Client::new(http.clone(), target, quick())
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

#[tokio::test]
async fn a_refused_connection_is_remembered_for_all_clients() {
    let calls = Calls::default();
    let _counted = calls.count();
    let http = Http::new(&HttpConfig::default()).unwrap();
    let url = closed_port().await;
    let refused = Err(Kind::Unreachable(NoConnection::Refused));
    let first = client(&http, &url);
    assert_eq!(lookup(&first).await, refused);
    assert_eq!(calls.sent(Call::Lookup), ATTEMPTS);
    // Of all calls of the next build one is sent.
    let next = client(&http, &url);
    for _ in 0..10 {
        let error = next.reserve("k", "v").await.unwrap_err();
        assert_eq!(error.kind, Kind::Unreachable(NoConnection::Refused));
        assert!(error.message.contains("Connection refused"), "{error}");
        assert_eq!(lookup(&next).await, refused);
    }
    assert_eq!(calls.sent(Call::Lookup), ATTEMPTS);
    assert_eq!(calls.sent(Call::Reserve), 1);
    // Bytes that were promised are worth all attempts.
    assert_eq!(lookup(&next.ignoring_outages()).await, refused);
    assert_eq!(calls.sent(Call::Lookup), 2 * ATTEMPTS);
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
    let calls = Calls::default();
    let _counted = calls.count();
    let http = Http::new(&HttpConfig::default()).unwrap();
    let url = "http://cache.invalid/".parse().unwrap();
    let unknown = Err(Kind::Unreachable(NoConnection::UnknownHost));
    assert_eq!(lookup(&client(&http, &url)).await, unknown);
    assert_eq!(calls.sent(Call::Lookup), 1);
}

#[tokio::test]
async fn tls_that_cannot_be_agreed_on_is_tried_once() {
    let calls = Calls::default();
    let _counted = calls.count();
    let http = Http::new(&HttpConfig::default()).unwrap();
    let plain = Fake::start(|_, _| say(204, "")).await;
    let mut url = plain.base.clone();
    url.set_scheme("https").unwrap();
    let error = client(&http, &url).lookup("k", "v").await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable(NoConnection::Tls));
    assert!(
        error.message.contains("should the URL begin with http://?"),
        "{error}"
    );
    assert_eq!(calls.sent(Call::Lookup), 1);
}
