//! The URL of a database, as libpq reads it.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use super::tls::{Connector, Roots, TlsConfigError, Trust};
use crate::secret::Secret;

/// How long to wait for one host to answer.
const CONNECT: Duration = Duration::from_secs(5);

/// After how long without an acknowledgement a connection is dead.
const USER_TIMEOUT: Duration = Duration::from_secs(15);

/// PostgreSQL's own.
const DEFAULT_PORT: u16 = 5432;

/// Where a database is and who connects. Nothing of a password is printed.
#[derive(Clone)]
pub struct DatabaseUrl {
    config: Config,
    trust: Option<Trust>,
    roots: Roots,
}

/// Why a URL is of no use. Its text is in none of these.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Of another database, or no URL.
    #[error("it must begin with postgres:// or postgresql://")]
    Scheme,
    /// Something in it makes no sense.
    #[error("it cannot be read: {0}")]
    Parse(String),
    /// It says nothing of where the database is.
    #[error("it names no host")]
    NoHost,
    /// A value of `sslmode` that libpq has or not.
    #[error("sslmode must be disable, prefer, require, verify-ca or verify-full, not {0:?}")]
    SslMode(String),
}

impl DatabaseUrl {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=…&sslrootcert=…`.
    pub fn parse(text: &Secret) -> Result<Self, DatabaseUrlError> {
        let text = text.expose();
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
        {
            return Err(DatabaseUrlError::Scheme);
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let value = |value: &str| percent_decode_str(value).decode_utf8_lossy().into_owned();
            match pair.split_once('=') {
                Some(("sslmode", text)) => mode = Some(value(text)),
                Some(("sslrootcert", text)) => roots = Some(value(text)),
                _ => rest.push(pair),
            }
        }
        // What only the library knows is its own to read.
        let base = Secret::new(format!("{base}?{}", rest.join("&")));
        let mut config = Config::from_str(base.expose()).map_err(|error| parse_error(&error))?;
        let (ssl_mode, trust) = tls(mode.as_deref(), roots.is_some())?;
        // As libpq: there is no TLS on a socket of this machine.
        let local = config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(if local { SslMode::Disable } else { ssl_mode });
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(DatabaseUrlError::NoHost);
        }
        config.connect_timeout(CONNECT);
        config.tcp_user_timeout(USER_TIMEOUT);
        config.application_name("buildkit-gha");
        let roots = match roots.as_deref() {
            None | Some("system") => Roots::System,
            Some(path) => Roots::File(PathBuf::from(path)),
        };
        Ok(Self {
            config,
            trust,
            roots,
        })
    }

    /// Hosts, ports and the database's name.
    pub fn location(&self) -> String {
        let config = &self.config;
        let ports = config.get_ports();
        let host = |(at, host): (usize, &Host)| {
            let port = ports.get(at).or(ports.first()).copied();
            let port = port.unwrap_or(DEFAULT_PORT);
            match host {
                Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        };
        let hosts: Vec<_> = config.get_hosts().iter().enumerate().map(host).collect();
        let name = config.get_dbname().or(config.get_user());
        format!("{}/{}", hosts.join(","), name.unwrap_or_default())
    }

    /// What connects to it.
    pub(super) fn connector(&self) -> Result<(Config, Connector), TlsConfigError> {
        let connector = Connector::new(self.trust, &self.roots)?;
        Ok((self.config.clone(), connector))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}", self.location())
    }
}

/// The library's words name the option that is wrong, and not what it says.
fn parse_error(error: &tokio_postgres::Error) -> DatabaseUrlError {
    let cause = std::error::Error::source(error);
    DatabaseUrlError::Parse(cause.map_or_else(|| error.to_string(), ToString::to_string))
}

/// Whether there is TLS, and what is checked of the server's certificate. A mode that asks for TLS and names certificates
/// checks them, as libpq's does.
fn tls(mode: Option<&str>, roots: bool) -> Result<(SslMode, Option<Trust>), DatabaseUrlError> {
    Ok(match mode {
        Some("disable") => (SslMode::Disable, None),
        None | Some("prefer") => (SslMode::Prefer, Some(Trust::Any)),
        Some("require") if roots => (SslMode::Require, Some(Trust::Issuer)),
        Some("require") => (SslMode::Require, Some(Trust::Any)),
        Some("verify-ca") => (SslMode::Require, Some(Trust::Issuer)),
        Some("verify-full") => (SslMode::Require, Some(Trust::IssuerAndName)),
        Some(other) => return Err(DatabaseUrlError::SslMode(other.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
        DatabaseUrl::parse(&Secret::new(text))
    }

    #[test]
    fn nothing_of_a_password_is_printed() {
        let url = parse("postgres://cache:hunter2@db.example:5433/entries").unwrap();
        assert_eq!(format!("{url:?}"), "postgres://db.example:5433/entries");
        for bad in [
            "mysql://cache:hunter2@db.example/x",
            "hunter2",
            "postgres://cache:hunter2@db.example:port/x",
            "postgres://cache:hunter2@db.example/x?hunter=hunter2",
            "postgres://cache:hunter2@db.example/x?connect_timeout=hunter2",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_socket_and_several_hosts_are_places_too() {
        let location = |text| parse(text).unwrap().location();
        assert_eq!(
            location("postgresql:///x?host=/run/pg&port=7"),
            "/run/pg:7/x"
        );
        assert_eq!(location("postgres://a:1,b:2/x"), "a:1,b:2/x");
        assert_eq!(location("postgres://me@a/"), "a:5432/me");
        assert!(matches!(
            parse("postgres:///x"),
            Err(DatabaseUrlError::NoHost)
        ));
    }

    #[test]
    fn tls_is_what_libpq_says() {
        let read = |query: &str| {
            let url = parse(&format!("postgres://h/x?{query}")).unwrap();
            (url.config.get_ssl_mode(), url.trust)
        };
        assert_eq!(read(""), (SslMode::Prefer, Some(Trust::Any)));
        assert_eq!(read("sslmode=disable"), (SslMode::Disable, None));
        assert_eq!(
            read("sslmode=require"),
            (SslMode::Require, Some(Trust::Any))
        );
        let with_roots = "sslmode=require&sslrootcert=/a%20b";
        assert_eq!(read(with_roots), (SslMode::Require, Some(Trust::Issuer)));
        let full = (SslMode::Require, Some(Trust::IssuerAndName));
        assert_eq!(read("sslmode=verify-full"), full);
        let socket = parse("postgres:///x?host=/run&sslmode=require").unwrap();
        assert_eq!(socket.config.get_ssl_mode(), SslMode::Disable);
        let allow = parse("postgres://h/x?sslmode=allow");
        assert!(matches!(allow, Err(DatabaseUrlError::SslMode(_))));
    }
}
