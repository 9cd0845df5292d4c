//! One request, ready to be sent: to an API with a token, or to a signed URL without one.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;

use zeroize::Zeroizing;

use super::{Call, deadline::LastActivity};
use crate::secret::{Secret, SecretUrl};

/// Who answers, since the same status means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// The cache service or the REST API: a token is sent.
    Api,
    /// The blob store: the URL is the permission, no token is sent.
    Blob,
}

/// One request, ready to be sent. A clone is the same request for another attempt.
#[derive(Clone)]
pub(super) struct Request {
    pub call: Call,
    pub endpoint: Endpoint,
    pub method: Method,
    pub url: SecretUrl,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Where it is noted that bytes of the body move.
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

    fn new(call: Call, endpoint: Endpoint, method: Method, url: SecretUrl) -> Self {
        Self {
            call,
            endpoint,
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

/// A URL below `base`, whose path may or may not end with a slash.
pub(super) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_with_one_slash() {
        for base in [
            "http://h:1/a/b",
            "http://h:1/a/b/",
            "http://h:1/a/b//?x=y#z",
        ] {
            let url = below(&Url::parse(base).unwrap(), "c/d");
            assert_eq!(url.as_str(), "http://h:1/a/b/c/d");
        }
    }
}
