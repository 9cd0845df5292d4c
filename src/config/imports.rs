//! How buildkitd reads what builds import.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use url::Url;

use super::{
    Env,
    error::{ConfigError, ConfigErrors},
    urls,
};
use crate::{gateway::ImportTransport, net::Tls};

/// The endpoint for imports listens here unless told otherwise: buildkitd is on the same host.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How buildkitd reads what builds import.
#[derive(Debug, Clone)]
pub struct Imports {
    /// Where the endpoint listens.
    pub listen: SocketAddr,
    /// What buildkitd reaches it by, where that is not its address.
    pub url: Option<Url>,
    /// A certificate that buildkitd has been made to trust, and its key.
    pub tls: Option<Tls>,
    /// `SSL_CERT_DIR`: the folders of certificates that buildkitd trusts.
    pub certificate_folders: Option<String>,
    /// How imports reach buildkitd, if anybody says.
    pub transport: Option<ImportTransport>,
}

impl Imports {
    pub(super) fn read(env: &Env, errors: &mut ConfigErrors) -> Self {
        let variable = "BUILDKIT_GHA_IMPORT_URL";
        let url = urls::read(env, variable, errors);
        let tls = tls(env, errors);
        if tls.is_some() && url.as_ref().is_some_and(|url| url.scheme() != "https") {
            errors.push(ConfigError::PlainUrl(env.source(variable).to_owned()));
        }
        Self {
            listen: listen(env, errors),
            url,
            tls,
            certificate_folders: env.get("SSL_CERT_DIR").map(str::to_owned),
            transport: transport(env, errors),
        }
    }
}

fn listen(env: &Env, errors: &mut ConfigErrors) -> SocketAddr {
    let variable = "BUILDKIT_GHA_IMPORT_LISTEN";
    let Some(text) = env.get(variable) else {
        return LISTEN;
    };
    let invalid = |_| ConfigError::ImportListen(env.source(variable).to_owned(), text.to_owned());
    let parsed = text.parse().map_err(invalid);
    errors.take(parsed).unwrap_or(LISTEN)
}

fn tls(env: &Env, errors: &mut ConfigErrors) -> Option<Tls> {
    let (cert, key) = (
        "BUILDKIT_GHA_IMPORT_TLS_CERT",
        "BUILDKIT_GHA_IMPORT_TLS_KEY",
    );
    match (env.get(cert), env.get(key)) {
        (Some(cert), Some(key)) => Some(Tls {
            cert: PathBuf::from(cert),
            key: PathBuf::from(key),
            ca: None,
        }),
        (None, None) => None,
        _ => {
            let (cert, key) = (env.source(cert), env.source(key));
            errors.push(ConfigError::Pair(cert.to_owned(), key.to_owned()));
            None
        }
    }
}

fn transport(env: &Env, errors: &mut ConfigErrors) -> Option<ImportTransport> {
    let variable = "BUILDKIT_GHA_IMPORT";
    match env.get(variable)? {
        "loopback" => Some(ImportTransport::Loopback),
        "content" => Some(ImportTransport::Content),
        other => {
            let name = env.source(variable).to_owned();
            errors.push(ConfigError::ImportTransport(name, other.to_owned()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(env: &[(&str, &str)]) -> Result<Imports, String> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let mut errors = ConfigErrors::default();
        let imports = Imports::read(&env.collect(), &mut errors);
        errors.into_result().map_err(|errors| errors.to_string())?;
        Ok(imports)
    }

    #[test]
    fn nothing_said_leaves_the_transport_to_be_found_out() {
        let imports = read(&[]).unwrap();
        assert_eq!(imports.listen, SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!(imports.transport, None);
        assert!(imports.tls.is_none());
    }

    #[test]
    fn a_certificate_has_a_key_and_a_url_that_uses_it() {
        let cert = ("BUILDKIT_GHA_IMPORT_TLS_CERT", "/cert.pem");
        let key = ("BUILDKIT_GHA_IMPORT_TLS_KEY", "/key.pem");
        let tls = read(&[cert, key]).unwrap().tls.unwrap();
        assert_eq!((tls.cert, tls.key), ("/cert.pem".into(), "/key.pem".into()));
        let alone = read(&[cert]).unwrap_err();
        assert!(alone.contains("are needed together"), "{alone}");
        let url = |url| ("BUILDKIT_GHA_IMPORT_URL", url);
        read(&[cert, key, url("https://gateway:4077/")]).unwrap();
        let plain = read(&[cert, key, url("http://gateway:4077/")]).unwrap_err();
        assert!(plain.contains("no https URL"), "{plain}");
    }
}
