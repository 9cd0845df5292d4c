//! How buildkitd reads what builds import.

use std::{net::SocketAddr, path::PathBuf};

use url::Url;

use super::{Env, Tls, gateway::ConfigErrors};

/// The endpoint for imports listens here unless told otherwise: buildkitd is on the same host.
const LISTEN: &str = "127.0.0.1:0";

/// The way of imports, and what stands on it.
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
    pub way: Option<ImportTransport>,
}

/// How imports reach buildkitd.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImportTransport {
    /// Over the loopback endpoint, with stock's own importer.
    #[default]
    Loopback,
    /// Over the session, for a buildkitd that cannot reach the endpoint, or should not.
    Content,
}

impl Imports {
    pub(super) fn read(env: &Env, mistakes: &mut ConfigErrors) -> Self {
        let url = mistakes.url("BUILDKIT_GHA_IMPORT_URL", env);
        let tls = tls(env, mistakes);
        if tls.is_some() && url.as_ref().is_some_and(|url| url.scheme() != "https") {
            let name = env.source("BUILDKIT_GHA_IMPORT_URL");
            mistakes.add(format!(
                "{name} is no https URL, but the endpoint has a certificate"
            ));
        }
        Self {
            listen: listen(env, mistakes),
            url,
            tls,
            certificate_folders: env.get("SSL_CERT_DIR").map(str::to_owned),
            way: way(env, mistakes),
        }
    }
}

fn listen(env: &Env, mistakes: &mut ConfigErrors) -> SocketAddr {
    let name = "BUILDKIT_GHA_IMPORT_LISTEN";
    let text = env.get(name).unwrap_or(LISTEN);
    let name = env.source(name);
    let parsed = text
        .parse()
        .map_err(|_| format!("{name}={text:?} is not an address such as {LISTEN}"));
    mistakes
        .take(parsed)
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn tls(env: &Env, mistakes: &mut ConfigErrors) -> Option<Tls> {
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
            mistakes.add(format!("{cert} and {key} are needed together"));
            None
        }
    }
}

fn way(env: &Env, mistakes: &mut ConfigErrors) -> Option<ImportTransport> {
    match env.get("BUILDKIT_GHA_IMPORT")? {
        "loopback" => Some(ImportTransport::Loopback),
        "content" => Some(ImportTransport::Content),
        other => {
            let name = env.source("BUILDKIT_GHA_IMPORT");
            mistakes.add(format!("{name}={other:?} is neither loopback nor content"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(env: &[(&str, &str)]) -> Result<Imports, String> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let mut mistakes = ConfigErrors::default();
        let imports = Imports::read(&env.collect(), &mut mistakes);
        mistakes.none().map_err(|mistakes| mistakes.to_string())?;
        Ok(imports)
    }

    #[test]
    fn nothing_said_leaves_the_way_to_be_found_out() {
        let imports = read(&[]).unwrap();
        assert_eq!(imports.listen, SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!(imports.way, None);
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
