//! Connections: one request goes out here, and fails here with a typed error that holds no URL.
//!
//! Trust and proxies are what the environment says when [`Transport::new`] is called. Roots are the
//! system's, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where set (rustls-native-certs reads
//! both and then leaves the system's out, as OpenSSL does); see [`super::tls`]. `HTTP_PROXY`,
//! `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` in either case are reqwest's doing. A loopback address
//! never goes through a proxy, as in Go and so in stock `BuildKit`.

use std::{pin::pin, time::Duration};

use http::{HeaderMap, StatusCode};
use reqwest::redirect;
use tokio::time::Instant;
use url::Url;

use super::{
    Error, HttpConfig,
    body::{Sent, SlicedBody},
    error_context::ErrorContext,
    request::Request,
    resolve,
    response::Response,
    time_limit::TimeLimit,
    tls::{self, TlsError},
};
use crate::{error_chain::error_chain, net::is_loopback};

/// Redirects that a download follows; blob stores behind a load balancer use one.
const MAX_REDIRECTS: usize = 5;

/// How long a server may take to say who it is and what time it is there: nobody waits for it but a person.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Idle connections kept per host: those of the lookups of an import, which are made side by side,
/// and then serve what follows them.
const IDLE_CONNECTIONS: usize = 64;

/// The connections could not be set up: no usable root certificates, or a proxy that is no URL.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS connections (see SSL_CERT_FILE and the system's CA certificates): {0}")]
pub struct HttpError(#[source] SetupError);

#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{}", error_chain(.0))]
    Client(reqwest::Error),
}

/// The connections of the process.
pub(super) struct Transport {
    /// For all that carries a token, or bytes that are to be stored.
    strict: Route,
    /// For reading from a signed URL: it follows redirects.
    reading: Route,
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

impl Transport {
    /// Sets the connections up. Without CA certificates on the machine only `http` services can be
    /// reached, which is no reason to start nothing.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpError> {
        let found = Self::with_roots(config, true).or_else(|error| {
            tracing::warn!(error = %HttpError(error), "no https service can be reached");
            Self::with_roots(config, false)
        });
        found.map_err(HttpError)
    }

    fn with_roots(config: &HttpConfig, system: bool) -> Result<Self, SetupError> {
        // No redirect with a token: the other host would get the call, if not the token. None of an
        // upload, which would go on as a GET and seem to be done. None with a Referer either, since
        // it would tell the next host the signed URL.
        // HTTP/1.1 throughout. Parts in flight have a connection each, where over HTTP/2 they would
        // share one window; and a call that hangs hangs alone, and is made again on another one.
        let tls = system.then(tls::client_config).transpose()?;
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
        let client_error = |error: reqwest::Error| SetupError::Client(error.without_url());
        Ok(Self {
            strict: strict.map_err(client_error)?,
            reading: reading.map_err(client_error)?,
        })
    }

    /// Sends a request and waits for the head of a good answer; any other is an error.
    pub async fn send(&self, request: Request, limit: TimeLimit) -> Result<Response, Error> {
        let begun = Instant::now();
        let sent = Sent::default();
        let context = ErrorContext::new(&request);
        let route = if request.call.reads() {
            &self.reading
        } else {
            &self.strict
        };
        let url = request.url.expose();
        let sending = route
            .client(url)
            .request(request.method, url.clone())
            .headers(request.headers)
            .body(reqwest::Body::wrap(SlicedBody::new(
                request.body,
                sent.clone(),
                request.last_activity,
            )))
            .send();
        let response = within(limit, &sent, sending)
            .await
            .ok_or_else(|| context.too_slow(limit))?
            .map_err(|error| context.no_answer(error))?;
        let response = Response::new(response, context, limit, begun);
        match response.status() {
            status if status.is_success() => Ok(response),
            // The one failure that a download understands: there are fewer bytes than asked for.
            StatusCode::RANGE_NOT_SATISFIABLE if request.call.reads() => Ok(response),
            _ => Err(response.into_error(request.endpoint).await),
        }
    }
}

impl Transport {
    /// Status and headers of whatever answer a server gives.
    pub async fn head(&self, request: Request) -> Result<(StatusCode, HeaderMap), Error> {
        let context = ErrorContext::new(&request);
        let url = request.url.expose();
        let sending = self
            .strict
            .client(url)
            .request(request.method, url.clone())
            .headers(request.headers)
            .body(request.body)
            .send();
        let limit = TimeLimit::Total(HEAD_TIME);
        let response = tokio::time::timeout(HEAD_TIME, sending)
            .await
            .map_err(|_| context.too_slow(limit))?
            .map_err(|error| context.no_answer(error))?;
        Ok((response.status(), response.headers().clone()))
    }
}

/// Runs a transfer within its limit.
async fn within<F: Future>(limit: TimeLimit, sent: &Sent, transfer: F) -> Option<F::Output> {
    let stalled = async {
        match limit {
            TimeLimit::Total(time) => tokio::time::sleep(time).await,
            TimeLimit::NoProgress(time) => sent.stalled(time).await,
        }
    };
    tokio::select! {
        output = pin!(transfer) => Some(output),
        () = stalled => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_ca_certificates_still_gets_a_client() {
        assert!(Transport::with_roots(&HttpConfig::default(), false).is_ok());
    }
}
