//! What all clients of the process share: connections, the memory of parts in flight, rate
//! limiters and circuit breakers.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::{
    AdaptiveConcurrency, Call, Error, HttpConfig,
    circuit_breaker::{CircuitBreaker, CircuitBreakers},
    rate_limiter::{RateLimiter, RateLimiters},
    request::Request,
    transport::{HttpError, Transport},
};
use crate::{
    digest::Digest,
    secret::{Secret, SecretUrl},
    telemetry::Metrics,
};

/// Memory is handed out in pieces of this size, since a semaphore counts in 32 bits.
const MEMORY_UNIT: u64 = 4 << 10;

/// What the clients of the process share; cheap to clone.
#[derive(Clone)]
pub struct Http(Arc<Shared>);

struct Shared {
    transport: Transport,
    memory: Arc<Semaphore>,
    memory_units: u32,
    uploads: AdaptiveConcurrency,
    rate_limiters: RateLimiters,
    circuit_breakers: CircuitBreakers,
    metrics: Metrics,
}

impl Http {
    /// Sets the connections up, from what the environment says of trust and proxies.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpError> {
        let memory_units = units(config.part_memory);
        Ok(Self(Arc::new(Shared {
            transport: Transport::new(config)?,
            memory: Arc::new(Semaphore::new(memory_units as usize)),
            memory_units,
            uploads: AdaptiveConcurrency::new("up", config.most_parts),
            rate_limiters: RateLimiters::new(config.budgets),
            circuit_breakers: CircuitBreakers::default(),
            metrics: config.metrics.clone(),
        })))
    }

    /// What time it is at the server of `url`, where it says so, whatever else it answers.
    pub async fn server_time(&self, url: &Url) -> Result<Option<Timestamp>, Error> {
        let (_, headers) = self.head(url).await?;
        let date = headers
            .get(header::DATE)
            .and_then(|date| date.to_str().ok());
        let parse = |date: &str| rfc2822::DateTimeParser::new().parse_timestamp(date).ok();
        Ok(date.and_then(parse))
    }

    /// Status and headers of whatever answer the server of `url` gives to a call without a token.
    pub async fn head(&self, url: &Url) -> Result<(StatusCode, HeaderMap), Error> {
        let request = Request::blob(Call::Probe, Method::HEAD, SecretUrl::new(url.clone()));
        self.transport().head(request).await
    }

    /// The status of the answer to an empty message of Twirp, in JSON.
    pub async fn twirp_status(&self, url: &Url, token: &Secret) -> Result<StatusCode, Error> {
        let request = Request::api(Call::Probe, Method::POST, url.clone(), token);
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from_static(b"{}"));
        Ok(self.transport().head(request).await?.0)
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The rate limiter of those who call the service at `url` as `subject`.
    pub(super) fn rate_limiter(&self, url: &Url, subject: Digest) -> Arc<RateLimiter> {
        self.0.rate_limiters.limiter(url, subject)
    }

    /// The circuit breaker of an origin.
    pub(super) fn circuit_breaker(&self, origin: &str) -> Arc<CircuitBreaker> {
        self.0.circuit_breakers.breaker(origin)
    }

    /// Tells the origins that were called, and of each whether it is known not to be reachable. It does not
    /// keep the connections.
    pub fn outages(&self) -> impl Fn() -> Vec<(String, bool)> + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.0);
        move || {
            let shared = shared.upgrade();
            shared.map_or_else(Vec::new, |shared| shared.circuit_breakers.states())
        }
    }

    /// How many parts of all uploads may be in flight.
    pub(super) fn uploads(&self) -> &AdaptiveConcurrency {
        &self.0.uploads
    }

    /// Waits until `bytes` of a part may be held in memory. A part larger than all there is gets
    /// all there is.
    pub(super) async fn memory(&self, bytes: u64) -> OwnedSemaphorePermit {
        let wanted = units(bytes).min(self.0.memory_units);
        let memory = Arc::clone(&self.0.memory);
        memory
            .acquire_many_owned(wanted)
            .await
            .expect("the semaphore is never closed")
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(MEMORY_UNIT))
        .unwrap_or(u32::MAX)
        .max(1)
}
