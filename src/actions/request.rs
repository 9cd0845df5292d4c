//! One request, ready to be sent: to an API with a token, or to a signed URL without one.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;

use super::{Call, deadline::LastActivity};
use zeroize::Zeroizing;

use crate::secret::{Secret, SecretUrl};

/// Who answers, since the same status means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The cache service or the REST API: a token is sent.
    Api,
    /// The blob store: the URL is the permission, no token is sent.
    Blob,
}

/// One request, ready to be sent.
pub(crate) struct Request {
    pub call: Call,
    pub side: Endpoint,
    pub method: Method,
    pub url: SecretUrl,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Is told that bytes of the body move.
    pub last_activity: Option<Arc<LastActivity>>,
}

impl Request {
    /// A call to a service, with its token.
    pub fn api(call: Call, method: Method, url: Url, token: &Secret) -> Self {
        let mut request = Self::new(call, Endpoint::Api, method, SecretUrl::new(url));
        // A token of other characters than a header can carry goes out as none and is refused.
        if let Ok(mut value) =
            HeaderValue::from_str(&Zeroizing::new(format!("Bearer {}", token.expose())))
        {
            value.set_sensitive(true);
            request.headers.insert(header::AUTHORIZATION, value);
        }
        request
    }

    /// A call to a signed URL, which gets no token.
    pub fn blob(call: Call, method: Method, url: SecretUrl) -> Self {
        Self::new(call, Endpoint::Blob, method, url)
    }

    fn new(call: Call, side: Endpoint, method: Method, url: SecretUrl) -> Self {
        Self {
            call,
            side,
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            last_activity: None,
        }
    }

    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// A header whose value is made of digits and plain ASCII.
    pub fn header_text(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("digits and ASCII punctuation");
        self.headers.insert(name, value);
        self
    }

    /// A body. Its length is said even if it is 0, where HTTP libraries leave it out: Azure
    /// refuses a `PUT` without it.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        let length = HeaderValue::from(self.body.len());
        self.headers.insert(header::CONTENT_LENGTH, length);
        self
    }

    pub fn json(self, value: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("protocol types are plain");
        self.header(header::CONTENT_TYPE, "application/json")
            .body(body)
    }
}
