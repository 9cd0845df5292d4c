//! Values that must never be printed: tokens and signed URLs.
//!
//! Neither type has `Display`; `Debug` shows that something is there and nothing of it. The one
//! way to the value is `expose`, so that `grep expose` lists every place that handles it.

use std::fmt;

use url::Url;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// A token, or anything else that gives access.
///
/// Its memory is overwritten when it is dropped. What a library has copied from it, such as the head of a
/// request, is out of reach; that the process cannot be looked into is the other half
/// ([`crate::lifecycle::forbid_inspection`]).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

impl Secret {
    /// Wraps a value that must not be printed.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, to be put on the wire and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True if there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

/// A URL whose path or query is a permission, as the signed blob URLs of the Actions cache are.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Wraps a URL of which only scheme, host and port may be printed.
    pub fn new(url: Url) -> Self {
        Self(url)
    }

    /// Reads a URL that somebody else chose. Only `http` and `https` are followed: no `file:` and no
    /// other scheme that the service has no business to name.
    pub fn http(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let followed = matches!(url.scheme(), "http" | "https") && url.has_host();
        followed.then_some(Self(url))
    }

    /// The whole URL, to be put on the wire and nowhere else.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Scheme, host and port: what a message to people may name.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/[secret]", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_somebody_else_chose_leads_to_http_only() {
        for (text, followed) in [
            ("https://blobs.example/c?sig=x", true),
            ("http://127.0.0.1:1/", true),
            ("file:///etc/passwd", false),
            ("unix:/run/docker.sock", false),
            ("data:,x", false),
            ("/relative", false),
            ("", false),
        ] {
            assert_eq!(SecretUrl::http(text).is_some(), followed, "{text}");
        }
    }

    #[test]
    fn nothing_of_a_secret_is_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[secret]");
        let url = Url::parse("https://blobs.example:8443/container/entry?sig=hunter2").unwrap();
        assert_eq!(
            format!("{:?}", SecretUrl::new(url)),
            "https://blobs.example:8443/[secret]"
        );
    }
}
