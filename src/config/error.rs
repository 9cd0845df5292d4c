//! What can be wrong with a configuration. One run reports all of it.

use std::{ffi::OsString, fmt};

use super::{
    buildkitd_toml::TomlError, default_cache::DefaultCacheError, limit::InvalidLimit,
    owner::GroupError,
};
use crate::net::AddressError;

/// One thing that is wrong. Flags and variables are named as they were written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// buildkitd.toml cannot be used.
    #[error(transparent)]
    File(#[from] TomlError),
    /// An address of `--addr`, `--upstream` or buildkitd.toml.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// `--group`.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A limit.
    #[error(transparent)]
    Limit(#[from] InvalidLimit),
    /// Not a URL. Its text is not quoted: it may hold a password.
    #[error("{0} is not a URL: {1}")]
    Url(String, url::ParseError),
    /// A URL of another scheme.
    #[error("{0} is not an http or https URL")]
    Scheme(String),
    /// The cache of builds that name none.
    #[error(transparent)]
    DefaultCache(#[from] DefaultCacheError),
    /// Where the endpoint of imports listens.
    #[error("{0}={1:?} is not an address such as 127.0.0.1:0")]
    ImportListen(String, String),
    /// Where metrics are served.
    #[error("{0}={1:?} is not an address such as 127.0.0.1:9090, localhost:9090 or :9090")]
    MetricsListen(String, String),
    /// How imports reach buildkitd.
    #[error("{0}={1:?} is neither loopback nor content")]
    ImportTransport(String, String),
    /// The endpoint speaks TLS, and its URL does not say so.
    #[error("{0} is no https URL, but the endpoint has a certificate")]
    PlainUrl(String),
    /// Of two that belong together one is missing.
    #[error("{0} and {1} are needed together")]
    Pair(String, String),
    /// A token and a file with one.
    #[error("both BUILDKIT_GHA_TOKEN and BUILDKIT_GHA_TOKEN_FILE are set: leave one out")]
    TwoTokens,
    /// One of `--tlscert` and `--tlskey` is missing.
    #[error("TLS needs both a certificate and a key (--tlscert, --tlskey)")]
    Tls,
    /// buildkitd is running already and cannot be given flags.
    #[error("--upstream names a buildkitd that is running: {0:?} cannot be passed to it")]
    FlagsForUpstream(Vec<OsString>),
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Default)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The value, or `None` and one error more.
    pub(super) fn take<T, E: Into<ConfigError>>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    pub(super) fn push(&mut self, error: impl Into<ConfigError>) {
        self.0.push(error.into());
    }

    /// Itself, unless nothing is wrong.
    pub(super) fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}
