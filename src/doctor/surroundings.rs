//! Proxies and certificates, as the environment says them.

use std::{fmt::Write as _, fs, path::Path};

use url::Url;

use super::Check;
use crate::net::is_loopback;

/// Variables of the environment that change how services are reached. Passwords are not in it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Names of variables, each with the host and port of its proxy.
    pub proxies: Vec<(&'static str, String)>,
    /// Hosts that are reached without one.
    pub no_proxy: Option<String>,
    /// `SSL_CERT_FILE`.
    pub certificate_file: Option<String>,
    /// `SSL_CERT_DIR`, a list with colons.
    pub certificate_folders: Option<String>,
}

pub(super) fn proxy(surroundings: &Surroundings, urls: &[Url]) -> Check {
    const NAME: &str = "proxy";
    if surroundings.proxies.is_empty() {
        return Check::ok(NAME, "none is set");
    }
    let proxies = surroundings.proxies.iter();
    let proxies: Vec<_> = proxies
        .map(|(name, proxy)| format!("{name}={proxy}"))
        .collect();
    let mut detail = proxies.join(", ");
    if let Some(exceptions) = &surroundings.no_proxy {
        // Writing to a String cannot fail.
        let _ = write!(detail, ", NO_PROXY={exceptions}");
    }
    if !urls.is_empty() && urls.iter().all(is_loopback) {
        detail += "; not used, since the service is on a loopback address";
    }
    Check::ok(NAME, detail)
}

pub(super) fn certificates(surroundings: &Surroundings) -> Check {
    const NAME: &str = "certificates";
    if let Some(file) = &surroundings.certificate_file
        && let Err(error) = fs::File::open(file)
    {
        return Check::failed(
            NAME,
            format!("SSL_CERT_FILE={file}: {error}"),
            "name a file that exists and may be read, or unset the variable",
        );
    }
    let folders = surroundings.certificate_folders.iter();
    let mut folders = folders.flat_map(|folders| folders.split(':'));
    if let Some(folder) = folders.find(|folder| !Path::new(folder).is_dir()) {
        return Check::warning(
            NAME,
            format!("SSL_CERT_DIR has {folder}, which is no directory"),
            "name directories that exist",
        );
    }
    let loaded = rustls_native_certs::load_native_certs();
    match (loaded.certs.len(), loaded.errors.first()) {
        (0, _) => Check::failed(
            NAME,
            "no CA certificate is trusted, so no https service can be reached",
            "install the system's certificates (ca-certificates), or name yours in SSL_CERT_FILE",
        ),
        (count, Some(error)) => Check::warning(
            NAME,
            format!("{count} are trusted; {error}"),
            "repair or remove what cannot be read",
        ),
        (count, None) => {
            let from = if surroundings.certificate_file.is_some()
                || surroundings.certificate_folders.is_some()
            {
                "of SSL_CERT_FILE and SSL_CERT_DIR"
            } else {
                "of the system"
            };
            Check::ok(NAME, format!("{count} {from} are trusted"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_certificate_file_that_is_not_there_is_named() {
        let surroundings = Surroundings {
            certificate_file: Some("/does/not/exist.pem".to_owned()),
            ..Surroundings::default()
        };
        let check = certificates(&surroundings);
        assert_eq!(check.status, Status::Failed);
        assert!(check.detail.contains("/does/not/exist.pem"), "{check:?}");
    }

    #[test]
    fn proxies_are_shown_and_loopback_needs_none() {
        let surroundings = Surroundings {
            proxies: vec![("HTTPS_PROXY", "proxy.example:3128".to_owned())],
            ..Surroundings::default()
        };
        let url = Url::parse("http://127.0.0.1:3000/").unwrap();
        let check = proxy(&surroundings, &[url]);
        assert!(check.detail.contains("proxy.example:3128"), "{check:?}");
        assert!(check.detail.contains("not used"), "{check:?}");
    }
}
