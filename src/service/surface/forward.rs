//! The way of a request to another replica, as it came.

use std::{convert::Infallible, sync::OnceLock, time::Duration};

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, request::Parts},
    response::Response,
};
use url::Url;

/// How long to wait for a connection to a replica, which is in the same network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Says that a request was sent on once: whoever has no such upload then says so.
const FORWARDED: HeaderName = HeaderName::from_static("x-buildkit-gha-forwarded");

/// What belongs to one connection, and what names the replica that was asked first.
const OF_THE_CONNECTION: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::EXPECT,
    header::UPGRADE,
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
    /// Whether a replica has sent it on.
    pub(super) fn is_forwarded(&self) -> bool {
        self.headers.contains_key(FORWARDED)
    }
}

/// The way to other replicas. Its client is made when the first request goes it: most services have no replicas, and
/// one without CA certificates on its machine cannot be made.
#[derive(Debug, Default)]
pub(super) struct Forwarder(OnceLock<reqwest::Client>);

impl Forwarder {
    fn client(&self) -> Result<&reqwest::Client, reqwest::Error> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        let client = reqwest::Client::builder()
            // Replicas are in a network of their own.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(self.0.get_or_init(|| client))
    }

    /// Sends a request on and answers what the replica answers.
    pub(super) async fn forward(
        &self,
        replica: &str,
        head: RequestHead,
        body: Body,
    ) -> Result<Response, ForwardError> {
        let mut url = Url::parse(replica)?;
        url.set_path(head.uri.path());
        url.set_query(head.uri.query());
        let mut headers = head.headers;
        for name in &OF_THE_CONNECTION {
            headers.remove(name);
        }
        headers.insert(FORWARDED, HeaderValue::from_static("1"));
        let body = reqwest::Body::wrap_stream(body.into_data_stream());
        let request = self
            .client()?
            .request(head.method, url)
            .headers(headers)
            .body(body);
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        for name in &OF_THE_CONNECTION {
            response.headers_mut().remove(name);
        }
        *response.body_mut() = Body::from_stream(answer.bytes_stream());
        Ok(response)
    }
}

/// Why a request could not be sent on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("its address is no URL: {0}")]
    Address(#[from] url::ParseError),
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}
