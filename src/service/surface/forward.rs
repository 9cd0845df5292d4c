//! The way of a request to another server, as it came: to a replica, or to the results service upstream.

use std::{convert::Infallible, sync::OnceLock, time::Duration};

use axum::{
    body::{Body, HttpBody as _},
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, request::Parts},
    response::Response,
};
use url::Url;

use crate::net::is_loopback;

/// How long to wait for a connection: a replica is in the same network, and the internet is not much farther away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long another server may send nothing, its own answer to come included: as long as we let readers stand still.
const READ_TIMEOUT: Duration = Duration::from_mins(10);

/// Says that a request was sent on once: who gets it must not send it on again.
const FORWARDED: HeaderName = HeaderName::from_static("x-buildkit-gha-forwarded");

/// What belongs to one connection (RFC 9110, section 7.6.1), and what names the server that was asked first.
const OF_THE_CONNECTION: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::EXPECT,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];

/// What a request begins with, to be sent on.
pub(super) struct RequestHead {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for RequestHead {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
        })
    }
}

impl RequestHead {
    /// Whether a service of this program has sent it on.
    pub(super) fn is_forwarded(&self) -> bool {
        self.headers.contains_key(FORWARDED)
    }

    /// What is to be done.
    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// The path that was asked for.
    pub(super) fn path(&self) -> &str {
        self.uri.path()
    }

    /// The query, without its question mark.
    pub(super) fn query(&self) -> Option<&str> {
        self.uri.query()
    }
}

/// The way to other servers. Its client is made when the first request goes it: most services have no replicas, and
/// one without CA certificates on its machine cannot be made.
#[derive(Debug)]
pub(super) struct Forwarder {
    client: OnceLock<reqwest::Client>,
    configure: fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
}

impl Forwarder {
    /// The way to replicas, which are in a network of their own.
    pub(super) fn to_replicas() -> Self {
        Self::new(reqwest::ClientBuilder::no_proxy)
    }

    /// The way to any other server, through the environment's proxies but for services of this machine.
    pub(super) fn to_server(url: &Url) -> Self {
        if is_loopback(url) {
            Self::new(|builder| builder.read_timeout(READ_TIMEOUT).no_proxy())
        } else {
            Self::new(|builder| builder.read_timeout(READ_TIMEOUT))
        }
    }

    fn new(configure: fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Self {
        Self {
            client: OnceLock::new(),
            configure,
        }
    }

    fn client(&self) -> Result<&reqwest::Client, reqwest::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT);
        let client = (self.configure)(builder).build()?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Sends a request on to `url` and answers what its server answers.
    pub(super) async fn forward(
        &self,
        url: Url,
        head: RequestHead,
        body: Body,
    ) -> Result<Response, reqwest::Error> {
        let mut headers = head.headers;
        remove_hop_by_hop(&mut headers);
        headers.insert(FORWARDED, HeaderValue::from_static("1"));
        let mut request = self.client()?.request(head.method, url).headers(headers);
        // A stream, even an empty one, would make a GET one with a body.
        if !body.is_end_stream() {
            request = request.body(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        remove_hop_by_hop(response.headers_mut());
        *response.body_mut() = Body::from_stream(answer.bytes_stream());
        Ok(response)
    }
}

/// Removes what is meant for the next server only, and what `Connection` says is.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter();
    let named = named.filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(','));
    let named: Vec<HeaderName> = named.filter_map(|name| name.trim().parse().ok()).collect();
    for name in named.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_is_not_sent_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "cache.example"),
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer t"),
            ("content-length", "3"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["authorization", "content-length"]);
    }
}
