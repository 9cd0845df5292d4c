//! What a proxy says of the request that it got: believed from those that are named, since anybody
//! can write such headers.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use axum::http::{HeaderMap, uri::Authority};
use url::Url;

use crate::service::network::Network;

/// What a request came by.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProxyTrust<'a> {
    /// Who has sent it to us.
    pub(super) peer: Option<IpAddr>,
    /// The proxies that are believed.
    pub(super) trusted: &'a [Network],
    /// Whether it came over TLS.
    pub(super) tls: bool,
}

impl ProxyTrust<'_> {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    fn is_trusted(&self) -> bool {
        self.peer.is_some_and(|peer| self.trusts(peer))
    }

    /// Who has made the request: the last one in the chain that is no proxy of ours.
    pub(super) fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = self.peer?.to_canonical();
        if !self.is_trusted() {
            return Some(peer);
        }
        let chain = headers.get_all("x-forwarded-for").iter();
        let chain = chain.filter_map(|value| value.to_str().ok());
        let chain: Vec<_> = chain.flat_map(|value| value.split(',')).collect();
        let named = chain
            .iter()
            .rev()
            .map_while(|text| text.trim().parse().ok());
        let mut named = named.map(|address: IpAddr| address.to_canonical());
        Some(named.find(|address| !self.trusts(*address)).unwrap_or(peer))
    }

    /// Where the client has sent its request, if a `Host` says so.
    pub(super) fn base(&self, headers: &HeaderMap) -> Option<Url> {
        let forwarded = |name| first(headers, name).filter(|_| self.is_trusted());
        let scheme = match forwarded("x-forwarded-proto") {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
            None if self.tls => "https",
            _ => "http",
        };
        let named = forwarded("x-forwarded-host").and_then(authority);
        let host = named.or_else(|| authority(headers.get("host")?.to_str().ok()?))?;
        Url::parse(&format!("{scheme}://{host}/")).ok()
    }

    /// Warns, once for each `told`, of a proxy with TLS that nobody has named: the URLs that its
    /// clients get begin with `http://`, and so lead nowhere.
    pub(super) fn warn_if_unnamed(&self, headers: &HeaderMap, told: &AtomicBool) {
        let https = first(headers, "x-forwarded-proto")
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let Some(proxy) = self
            .peer
            .filter(|_| https && !self.tls && !self.is_trusted())
        else {
            return;
        };
        if told.swap(true, Ordering::Relaxed) {
            return;
        }
        let proxy = proxy.to_canonical();
        tracing::warn!(
            %proxy,
            "requests come through a proxy that speaks https, but signed URLs begin with http://: \
             say --trusted-proxy {proxy} if it is yours, or --base-url https://…"
        );
    }
}

fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split(',').next().map(str::trim)
}

fn authority(text: &str) -> Option<Authority> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        values.iter().map(pair).collect()
    }

    fn seen(peer: &str, values: &[(&'static str, &'static str)]) -> (String, String) {
        let trusted = ["10.0.0.0/24".parse().unwrap()];
        let proxy_trust = ProxyTrust {
            peer: Some(peer.parse().unwrap()),
            trusted: &trusted,
            tls: false,
        };
        let headers = headers(values);
        let base = proxy_trust
            .base(&headers)
            .map(String::from)
            .unwrap_or_default();
        (base, proxy_trust.client(&headers).unwrap().to_string())
    }

    #[test]
    fn a_named_proxy_is_believed_and_no_other() {
        let said = [
            ("host", "127.0.0.1:3000"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "cache.example:8443"),
            ("x-forwarded-for", "9.9.9.9, 192.0.2.7, 10.0.0.3"),
        ];
        let (base, client) = seen("::ffff:10.0.0.2", &said);
        assert_eq!(base, "https://cache.example:8443/");
        assert_eq!(client, "192.0.2.7");
        let (base, client) = seen("10.0.1.2", &said);
        assert_eq!(base, "http://127.0.0.1:3000/");
        assert_eq!(client, "10.0.1.2");
    }

    #[test]
    fn a_proxy_may_say_only_some_of_it_or_nonsense() {
        let host = ("host", "cache.example");
        let (base, client) = seen("10.0.0.2", &[host, ("x-forwarded-proto", "HTTPS, http")]);
        assert_eq!(base, "https://cache.example/");
        assert_eq!(client, "10.0.0.2");
        let nonsense = [
            host,
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-host", "a b"),
            ("x-forwarded-for", "unknown"),
        ];
        let (base, client) = seen("10.0.0.2", &nonsense);
        assert_eq!(base, "http://cache.example/");
        assert_eq!(client, "10.0.0.2");
        assert_eq!(seen("10.0.0.2", &[]).0, "");
    }
}
