//! The results service behind this one: where what is not the cache goes (`--upstream-results-url`).

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::instance::Service;

/// Scheme, host and port of a results service. Paths of requests are appended, so nothing that a client sends
/// changes who gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl(Url);

/// Why a URL is none of a results service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamUrlError {
    /// Not a URL.
    #[error(transparent)]
    Parse(#[from] url::ParseError),
    /// Of another kind.
    #[error(
        "it must be an http or https URL with a host and nothing after it, such as https://results.example/"
    )]
    Kind,
}

/// The upstream is this service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "--upstream-results-url: {upstream} is this service itself: name the one behind it, such as \
     https://results-receiver.actions.githubusercontent.com"
)]
pub struct UpstreamLoop {
    upstream: String,
}

impl UpstreamUrl {
    /// Reads what an operator has written.
    pub fn parse(text: &str) -> Result<Self, UpstreamUrlError> {
        let url = Url::parse(text)?;
        let is_http = matches!(url.scheme(), "http" | "https");
        let named = !url.username().is_empty() || url.password().is_some();
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if is_http && !named && bare {
            Ok(Self(url))
        } else {
            Err(UpstreamUrlError::Kind)
        }
    }

    /// Scheme, host and port, for people.
    pub(super) fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The URL of what a client has asked this service for.
    pub(super) fn with(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url.set_query(query);
        url
    }

    fn has_origin_of(&self, other: &Url) -> bool {
        self.0.origin() == other.origin()
    }

    /// Whether it leads to a socket of this machine at `local`.
    fn leads_to(&self, local: SocketAddr) -> bool {
        let here = |ip: IpAddr| {
            let unspecified =
                local.ip().is_unspecified() && (ip.is_loopback() || ip.is_unspecified());
            unspecified || ip.to_canonical() == local.ip().to_canonical()
        };
        let is_here = match self.0.host() {
            Some(Host::Ipv4(ip)) => here(ip.into()),
            Some(Host::Ipv6(ip)) => here(ip.into()),
            Some(Host::Domain(name)) => {
                name == "localhost" && (local.ip().is_loopback() || local.ip().is_unspecified())
            }
            None => false,
        };
        is_here && self.0.port_or_known_default() == Some(local.port())
    }
}

impl Service {
    /// Refuses an upstream that is this service, as far as its own URLs and the socket at `local` tell. A loop over
    /// another name is seen when a request comes back.
    pub fn check_upstream(&self, local: SocketAddr) -> Result<(), UpstreamLoop> {
        let config = self.config();
        let Some(upstream) = &config.upstream_results else {
            return Ok(());
        };
        let mut own = config.base_url.iter().chain(&config.advertise);
        if upstream.leads_to(local) || own.any(|url| upstream.has_origin_of(url)) {
            return Err(UpstreamLoop {
                upstream: upstream.origin(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_origin_is_an_upstream() {
        for text in ["https://results.example", "http://127.0.0.1:3001/"] {
            assert!(UpstreamUrl::parse(text).is_ok(), "{text}");
        }
        for text in [
            "results.example",
            "ftp://results.example/",
            "https://user@results.example/",
            "https://results.example/path",
            "https://results.example/?q",
            "https://results.example/#f",
        ] {
            assert!(UpstreamUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_path_leads_to_another_host() {
        let upstream = UpstreamUrl::parse("https://results.example/").unwrap();
        for path in [
            "//evil.example/x",
            "/\\evil.example/x",
            "/@evil.example/",
            "/../..//evil.example",
            "http://evil.example/",
            "",
        ] {
            let url = upstream.with(path, Some("a=b"));
            assert_eq!(url.origin(), upstream.0.origin(), "{path}");
        }
    }

    #[test]
    fn a_service_knows_its_own_socket() {
        for (url, local, expected) in [
            ("http://127.0.0.1:3000/", "127.0.0.1:3000", true),
            ("http://127.0.0.1:3001/", "127.0.0.1:3000", false),
            ("http://localhost:3000/", "0.0.0.0:3000", true),
            ("http://[::1]:3000/", "[::]:3000", true),
            ("https://127.0.0.1/", "0.0.0.0:443", true),
            ("http://10.0.0.7:3000/", "0.0.0.0:3000", false),
            ("http://10.0.0.7:3000/", "[::ffff:10.0.0.7]:3000", true),
            ("http://results.example:3000/", "0.0.0.0:3000", false),
        ] {
            let leads = UpstreamUrl::parse(url)
                .unwrap()
                .leads_to(local.parse().unwrap());
            assert_eq!(leads, expected, "{url} at {local}");
        }
    }
}
