//! An issuer on this machine: it publishes keys, counts who asks, and can be away.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect},
    routing::get,
    serve::Listener,
};
use buildkit_gha::{lifecycle::Tasks, service::config::TrustedIssuer};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::signer::Key;

/// An issuer, until its test ends.
pub struct Issuer {
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    keys: Mutex<Vec<Value>>,
    /// What the discovery document says; `None` if there is no such document.
    jwks_uri: Mutex<Option<String>>,
    away: AtomicBool,
    fetches: AtomicUsize,
}

impl Issuer {
    /// One with these keys, which has them where GitHub has and says so.
    pub async fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self::on(listener, keys);
        let keys = format!("{}/.well-known/jwks", issuer.url);
        *issuer.shared.jwks_uri.lock() = Some(keys);
        issuer
    }

    /// The same without a discovery document.
    pub fn on(listener: TcpListener, keys: &[&Key]) -> Self {
        Self::serving("http", listener, keys)
    }

    /// The same over TLS.
    pub async fn start_tls(identity: TlsAcceptor, keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serving("https", TlsListener { listener, identity }, keys)
    }

    fn serving<L: Listener<Addr = SocketAddr>>(scheme: &str, listener: L, keys: &[&Key]) -> Self {
        let shared = Arc::<Shared>::default();
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/.well-known/jwks", get(jwks))
            .route("/elsewhere", get(jwks))
            .route("/moved", get(async || Redirect::temporary("/elsewhere")))
            .with_state(Arc::clone(&shared));
        let issuer = Self {
            url: format!("{scheme}://{}", listener.local_addr().unwrap()),
            shared,
        };
        Tasks::default().spawn("issuer", async move {
            axum::serve(listener, router).await.unwrap();
        });
        issuer.publish(keys);
        issuer
    }

    /// What `--trust-issuer` makes of it.
    pub fn trusted(&self) -> TrustedIssuer {
        trusted(&self.url)
    }

    /// From now on it has these keys and no others.
    pub fn publish(&self, keys: &[&Key]) {
        *self.shared.keys.lock() = keys.iter().map(|key| key.public()).collect();
    }

    /// It has one key more, which is no key.
    pub fn publish_also(&self, value: Value) {
        self.shared.keys.lock().push(value);
    }

    /// Its discovery document says this.
    pub fn point_to(&self, keys: &str) {
        *self.shared.jwks_uri.lock() = Some(keys.to_owned());
    }

    /// Whether it fails all who ask.
    pub fn set_away(&self, away: bool) {
        self.shared.away.store(away, Ordering::SeqCst);
    }

    /// How often its keys were fetched.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }
}

/// Connections that have agreed on TLS.
struct TlsListener {
    listener: TcpListener,
    identity: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            // Others do not trust the certificate.
            if let Ok(stream) = self.identity.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub fn trusted(url: &str) -> TrustedIssuer {
    TrustedIssuer {
        issuer: url.parse().unwrap(),
        keys: None,
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let jwks_uri = shared.jwks_uri.lock().clone();
    match jwks_uri.filter(|_| !shared.away.load(Ordering::SeqCst)) {
        Some(jwks_uri) => Ok(json!({ "jwks_uri": jwks_uri }).to_string()),
        None => Err(StatusCode::NOT_FOUND),
    }
}

async fn jwks(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    if shared.away.load(Ordering::SeqCst) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let keys = shared.keys.lock();
    Ok(json!({ "keys": *keys }).to_string())
}
