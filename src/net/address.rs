//! Addresses as buildkitd writes them.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where a gRPC server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:///path`.
    Unix(PathBuf),
    /// `tcp://host:port`.
    Tcp(String),
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `scheme://`.
    #[error("address {0:?} has no scheme; did you mean unix://{0}?")]
    NoScheme(String),
    /// Nothing follows the scheme, or no port.
    #[error("address {0:?} names no {1}")]
    Incomplete(String, &'static str),
    /// Sockets that systemd opened belong to buildkitd itself.
    #[error(
        "address {0:?}: buildkit-gha cannot take a socket from systemd; \
         use unix:// or tcp:// instead of fd://"
    )]
    SocketActivation(String),
    /// Another scheme.
    #[error("address {0:?} is not supported; use unix:// or tcp://")]
    Unsupported(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(AddressError::NoScheme(text.into()));
        };
        match scheme {
            "unix" if rest.is_empty() => Err(AddressError::Incomplete(text.into(), "path")),
            "unix" => Ok(Self::Unix(rest.into())),
            "tcp" if !rest.contains(':') => Err(AddressError::Incomplete(text.into(), "port")),
            "tcp" => Ok(Self::Tcp(rest.into())),
            "fd" => Err(AddressError::SocketActivation(text.into())),
            _ => Err(AddressError::Unsupported(text.into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_written() {
        for text in [
            "unix:///run/buildkit/buildkitd.sock",
            "unix://relative.sock",
            "tcp://0.0.0.0:1234",
            "tcp://[::1]:0",
            "tcp://:1234",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused_with_its_name() {
        for (text, hint) in [
            ("/run/x.sock", "did you mean unix:///run/x.sock"),
            ("fd://3", "systemd"),
            ("npipe://x", "not supported"),
            ("tcp://host", "no port"),
            ("unix://", "no path"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
