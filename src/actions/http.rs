//! The one send: every remote call goes out here, is counted here, and fails here with a typed
//! error that holds no URL.
//!
//! Trust and proxies are what the environment says when [`Http::new`] is called. Roots are the
//! system's, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where set (rustls-native-certs reads
//! both and then leaves the system's out, as OpenSSL does); see [`super::tls`]. `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` in either case are reqwest's
//! doing. A loopback address never goes through a proxy, as in Go and so in stock `BuildKit`.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use reqwest::redirect;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use url::{Host, Url};

pub use super::call::Call;
pub(crate) use super::request::{Request, Side};
use super::{
    Error, Kind,
    adaptive_concurrency::AdaptiveConcurrency,
    answer::Answer,
    body::{Sent, SlicedBody},
    config::HttpConfig,
    failure,
    governor::{Governor, Lane},
    metrics,
    outage::Outages,
    resolve, tls,
};
use crate::{digest::Digest, telemetry::Metrics};

/// Redirects that a download follows; blob stores behind a load balancer use one.
const MAX_REDIRECTS: usize = 5;

/// Idle connections kept per host: those of the lookups of an import, which are made side by side,
/// and then serve what follows them.
const IDLE_CONNECTIONS: usize = 64;

/// Memory is handed out in pieces of this size, since a semaphore counts in 32 bits.
const MEMORY_UNIT: u64 = 4 << 10;

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// In all, up to the answer's head.
    Total(Duration),
    /// Without moving one byte.
    NoProgress(Duration),
}

/// How often a call has been made, and how often it failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests sent.
    pub sent: u64,
    /// Of these, those that ended in an error.
    pub failed: u64,
}

#[derive(Default)]
struct Counter {
    sent: AtomicU64,
    failed: AtomicU64,
}

/// Connections, counters and the memory of parts in flight: one per process, cheap to clone.
#[derive(Clone)]
pub struct Http(Arc<Shared>);

struct Shared {
    /// For all that carries a token, or bytes that are to be stored.
    strict: Route,
    /// For reading from a signed URL: it follows redirects.
    reading: Route,
    memory: Arc<Semaphore>,
    memory_units: u32,
    uploads: AdaptiveConcurrency,
    governor: Governor,
    outages: Outages,
    counters: [Counter; Call::ALL.len()],
    metrics: Metrics,
}

/// Two clients: with the environment's proxies, and for loopback addresses.
struct Route {
    proxied: reqwest::Client,
    direct: reqwest::Client,
}

impl Route {
    fn new(builder: impl Fn() -> reqwest::ClientBuilder) -> Result<Self, reqwest::Error> {
        Ok(Self {
            proxied: builder().build()?,
            direct: builder().no_proxy().build()?,
        })
    }

    fn client(&self, url: &Url) -> &reqwest::Client {
        if is_loopback(url) {
            &self.direct
        } else {
            &self.proxied
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The connections could not be set up: no usable root certificates, or a proxy that is no URL.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS connections (see SSL_CERT_FILE and the system's CA certificates): {0}")]
pub struct HttpError(String);

impl Http {
    /// Sets the connections up. Without CA certificates on the machine only `http` services can be
    /// reached, which is no reason to start nothing.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpError> {
        Self::with_roots(config, true).or_else(|error| {
            tracing::warn!(%error, "no https service can be reached");
            Self::with_roots(config, false)
        })
    }

    fn with_roots(config: &HttpConfig, system: bool) -> Result<Self, HttpError> {
        // No redirect with a token: the other host would get the call, if not the token. None of an
        // upload, which would go on as a GET and seem to be done. None with a Referer either, since
        // it would tell the next host the signed URL.
        // HTTP/1.1 throughout. Parts in flight have a connection each, where over HTTP/2 they would
        // share one window; and a call that hangs hangs alone, and is made again on another one.
        let tls = system
            .then(tls::client_config)
            .transpose()
            .map_err(HttpError)?;
        let base = || {
            let builder = reqwest::Client::builder()
                .http1_only()
                .connect_timeout(config.connect_timeout)
                .dns_resolver(resolve::System)
                .user_agent(config.user_agent.clone())
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .referer(false);
            match &tls {
                Some(tls) => builder.tls_backend_preconfigured(tls.clone()),
                None => builder.tls_certs_only([]),
            }
        };
        let strict = Route::new(|| base().redirect(redirect::Policy::none()));
        let reading = Route::new(|| base().redirect(redirect::Policy::limited(MAX_REDIRECTS)));
        let words = |error: reqwest::Error| HttpError(failure::words(&error.without_url()));
        let memory_units = units(config.part_memory);
        Ok(Self(Arc::new(Shared {
            strict: strict.map_err(words)?,
            reading: reading.map_err(words)?,
            memory: Arc::new(Semaphore::new(memory_units as usize)),
            memory_units,
            uploads: AdaptiveConcurrency::new("up", config.most_parts),
            governor: Governor::new(config.budgets),
            outages: Outages::default(),
            counters: Default::default(),
            metrics: config.metrics.clone(),
        })))
    }

    /// How often `call` has been made.
    pub fn count(&self, call: Call) -> Count {
        let counter = self.counter(call);
        Count {
            sent: counter.sent.load(Ordering::Relaxed),
            failed: counter.failed.load(Ordering::Relaxed),
        }
    }

    /// The lane of those who call the service at `url` as `subject`.
    pub(super) fn lane(&self, url: &Url, subject: Digest) -> Arc<Lane> {
        self.0.governor.lane(url, subject)
    }

    /// The services that cannot be reached.
    pub(super) fn outages(&self) -> &Outages {
        &self.0.outages
    }

    /// The parts of all uploads.
    pub(super) fn uploads(&self) -> &AdaptiveConcurrency {
        &self.0.uploads
    }

    /// Waits until `bytes` of a part may be held in memory. A part larger than all there is gets
    /// all there is.
    pub(crate) async fn memory(&self, bytes: u64) -> OwnedSemaphorePermit {
        let wanted = units(bytes).min(self.0.memory_units);
        let memory = Arc::clone(&self.0.memory);
        memory
            .acquire_many_owned(wanted)
            .await
            .expect("the semaphore is never closed")
    }

    /// Sends a request and waits for the head of a good answer; any other is an error.
    pub(crate) async fn send(&self, request: Request, limit: Limit) -> Result<Answer, Error> {
        let counter = self.counter(request.call);
        counter.sent.fetch_add(1, Ordering::Relaxed);
        let (call, body) = (request.call, request.body.len());
        let result = self.exchange(request, limit).await;
        metrics::record(&self.0.metrics, call, body, result.as_ref().err());
        if let Err(error) = &result {
            counter.failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(call = error.call, origin = error.origin, kind = ?error.kind,
                message = error.message, "call failed");
        }
        result
    }

    async fn exchange(&self, request: Request, limit: Limit) -> Result<Answer, Error> {
        let begun = Instant::now();
        let sent = Sent::default();
        let context = failure::Context::of(&request);
        tracing::debug!(
            call = request.call.words(),
            origin = context.origin,
            bytes = request.body.len(),
            "call"
        );
        let route = if request.call.reads() {
            &self.0.reading
        } else {
            &self.0.strict
        };
        let url = request.url.expose();
        let response = route
            .client(url)
            .request(request.method, url.clone())
            .headers(request.headers)
            .body(reqwest::Body::wrap(SlicedBody::new(
                request.body,
                sent.clone(),
                request.last_progress,
            )))
            .send();
        let response = within(limit, &sent, response)
            .await
            .ok_or_else(|| context.too_slow(limit))?
            .map_err(|error| context.transport(error))?;
        let answer = Answer::new(response, context, limit, begun);
        match answer.status() {
            status if status.is_success() && request.call.reads() => {
                Ok(answer.counted_by(self.0.metrics.downloaded()))
            }
            status if status.is_success() => Ok(answer),
            // The one failure that a download understands: there are fewer bytes than asked for.
            StatusCode::RANGE_NOT_SATISFIABLE if request.call.reads() => Ok(answer),
            _ => Err(answer.into_failure(request.side).await),
        }
    }

    fn counter(&self, call: Call) -> &Counter {
        &self.0.counters[call as usize]
    }
}

/// Runs a transfer within its limit.
async fn within<F: Future>(limit: Limit, sent: &Sent, transfer: F) -> Option<F::Output> {
    let stalled = async {
        match limit {
            Limit::Total(time) => tokio::time::sleep(time).await,
            Limit::NoProgress(time) => sent.stalled(time).await,
        }
    };
    tokio::select! {
        output = pin!(transfer) => Some(output),
        () = stalled => None,
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(MEMORY_UNIT))
        .unwrap_or(u32::MAX)
        .max(1)
}

/// The error for bytes that cannot be had from the caller's source.
pub(crate) fn source_error(call: Call, error: &std::io::Error) -> Error {
    Error {
        kind: Kind::Source,
        call: call.words(),
        origin: "this machine".to_owned(),
        message: format!("the bytes to send are gone: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_ca_certificates_still_gets_a_client() {
        assert!(Http::with_roots(&HttpConfig::default(), false).is_ok());
    }

    #[test]
    fn loopback_is_known_by_name_and_number() {
        for (url, expected) in [
            ("http://localhost:1/", true),
            ("http://LOCALHOST./", true),
            ("http://127.8.9.1/", true),
            ("http://[::1]:80/", true),
            ("http://10.0.0.1/", false),
            ("https://localhost.example/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn calls_index_their_counters() {
        for (index, call) in Call::ALL.into_iter().enumerate() {
            assert_eq!(call as usize, index);
        }
    }
}
