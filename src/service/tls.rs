//! TLS of the service itself, with a certificate that is read again when its files change.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

/// HTTP/2 by its name in ALPN.
pub(super) const HTTP2: &[u8] = b"h2";

/// HTTP/1.1 by its name in ALPN.
const HTTP1: &[u8] = b"http/1.1";

/// The files of a certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, and those between it and one that clients trust.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why files are no identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One cannot be read, or holds something else.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// They do not belong together, or are of no use to TLS.
    #[error("the certificate {certificate} cannot be used with the key {key}: {reason}")]
    Pair {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// Why.
        reason: rustls::Error,
    },
}

/// What makes TLS connections, as the files say now.
pub(super) fn acceptor(identity: Identity) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let stamp = identity.stamp();
    let current = identity.load(&provider)?;
    let pair = |reason| identity.pair(reason);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let resolver = Resolver {
        state: Mutex::new((stamp, Arc::new(current))),
        identity,
        provider,
    };
    let mut config = builder
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    // The first one that the client offers is spoken: parts of one client on connections of their own are faster than
    // on one (ADR 61).
    config.alpn_protocols = vec![HTTP1.to_vec(), HTTP2.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What tells one state of both files from another.
type Stamp = [Option<(u64, u64, i64, i64)>; 2];

impl Identity {
    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let file = fs::metadata(path).ok()?;
            Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
        })
    }

    fn load(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let unreadable = |path: &Path, reason: &dyn ToString| TlsError::File {
            path: path.display().to_string(),
            reason: reason.to_string(),
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(&self.certificate, &error))?;
        if chain.is_empty() {
            return Err(unreadable(&self.certificate, &"it holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| unreadable(&self.key, &error))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|reason| self.pair(reason))
    }

    fn pair(&self, reason: rustls::Error) -> TlsError {
        TlsError::Pair {
            certificate: self.certificate.display().to_string(),
            key: self.key.display().to_string(),
            reason,
        }
    }
}

/// The certificate that is shown: that of the files, or the last that could be used.
#[derive(Debug)]
struct Resolver {
    identity: Identity,
    provider: Arc<CryptoProvider>,
    state: Mutex<(Stamp, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Two looks at the file system cost nothing beside the handshake.
        let stamp = self.identity.stamp();
        let mut state = self.state.lock();
        if state.0 != stamp {
            state.0 = stamp;
            match self.identity.load(&self.provider) {
                Ok(new) => {
                    state.1 = Arc::new(new);
                    tracing::info!("the certificate was read again");
                }
                // Half of it may have been replaced; the other half changes the stamp again.
                Err(error) => {
                    tracing::warn!(%error, "the certificate has changed and the last one is kept");
                }
            }
        }
        Some(Arc::clone(&state.1))
    }
}
