//! Where a TCP server listens: `host:port` as Go's programs take it.

use std::{fmt, io, net::SocketAddr, str::FromStr};

use tokio::net::{TcpListener, lookup_host};

/// `127.0.0.1:3000`, `[::1]:3000`, `localhost:3000`, or `:3000` for every interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Without brackets; empty for every interface.
    host: String,
    port: u16,
}

/// A text that names no place to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address such as 127.0.0.1:3000, localhost:3000 or :3000")]
pub struct InvalidListen;

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidListen)?;
        let port = port.parse().map_err(|_| InvalidListen)?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let wrong = |c: char| c.is_whitespace() || "/[]@".contains(c);
        if host.contains(wrong) || (bracketed.is_none() && host.contains(':')) {
            return Err(InvalidListen);
        }
        let host = host.to_owned();
        Ok(Self { host, port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Listen {
    /// How programs of this machine reach whoever has bound it, as `host:port`.
    pub fn reached_from_here(&self) -> String {
        let everywhere = ["", "0.0.0.0", "::"].contains(&self.host.as_str());
        if everywhere {
            format!("localhost:{}", self.port)
        } else {
            self.to_string()
        }
    }

    /// Binds it. Of a name's addresses IPv4 comes first, as in Go: whoever is told `localhost`
    /// most often tries 127.0.0.1.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        let port = self.port;
        if self.host.is_empty() {
            return match TcpListener::bind(("::", port)).await {
                // No IPv6 on this machine.
                Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
                bound => bound,
            };
        }
        let mut found: Vec<SocketAddr> = lookup_host((self.host.as_str(), port)).await?.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        TcpListener::bind(found.as_slice()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_written() {
        for text in ["127.0.0.1:0", "[::1]:3000", "localhost:3000", ":3000"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "localhost",
            "3000",
            "::1:3000",
            "http://localhost:3000",
            "localhost:http",
            "localhost:70000",
        ] {
            assert_eq!(text.parse::<Listen>(), Err(InvalidListen), "{text}");
        }
    }

    #[test]
    fn every_interface_is_reached_over_loopback() {
        for (bound, reached) in [
            (":3000", "localhost:3000"),
            ("0.0.0.0:3000", "localhost:3000"),
            ("[::]:3000", "localhost:3000"),
            ("[::1]:3000", "[::1]:3000"),
            ("192.0.2.1:3000", "192.0.2.1:3000"),
        ] {
            let listen: Listen = bound.parse().unwrap();
            assert_eq!(listen.reached_from_here(), reached);
        }
    }

    #[tokio::test]
    async fn a_name_and_every_interface_can_be_bound() {
        let named = "localhost:0".parse::<Listen>().unwrap();
        assert!(
            named
                .bind()
                .await
                .unwrap()
                .local_addr()
                .unwrap()
                .ip()
                .is_loopback()
        );
        let every = ":0".parse::<Listen>().unwrap().bind().await.unwrap();
        assert!(every.local_addr().unwrap().ip().is_unspecified());
    }
}
