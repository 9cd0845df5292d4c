//! TLS to the database, with what `sslmode` asks to be checked.

use std::{
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::{TlsConnector, client};

/// What is checked of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing: who only listens learns nothing, whoever is in between everything.
    Any,
    /// That somebody who is trusted has issued it.
    Issuer,
    /// That, and the name of the host.
    IssuerAndName,
}

/// Who is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    /// Whom the system trusts.
    System,
    /// The certificates of a file, in PEM.
    File(PathBuf),
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsConfigError {
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    #[error("this system has no trusted certificates: name some with sslrootcert")]
    NoRoots,
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    #[error(transparent)]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// Makes connections with TLS; without a [`Trust`] none is ever asked for.
#[derive(Clone)]
pub(super) struct Connector(TlsConnector);

impl Connector {
    pub(super) fn new(trust: Option<Trust>, roots: &Roots) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let issuers = match trust {
            None | Some(Trust::Any) => None,
            Some(_) => {
                let roots = Arc::new(roots.load()?);
                let provider = Arc::clone(&provider);
                Some(WebPkiServerVerifier::builder_with_provider(roots, provider).build()?)
            }
        };
        let verifier = Verifier {
            issuers,
            names: trust == Some(Trust::IssuerAndName),
            provider: Arc::clone(&provider),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

impl Roots {
    fn load(&self) -> Result<RootCertStore, TlsConfigError> {
        let mut store = RootCertStore::empty();
        match self {
            Self::System => {
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Self::File(path) => {
                let unreadable = |reason: &dyn ToString| TlsConfigError::File {
                    path: path.display().to_string(),
                    reason: reason.to_string(),
                };
                let certificates = CertificateDer::pem_file_iter(path)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|error| unreadable(&error))?;
                for certificate in certificates {
                    store.add(certificate).map_err(|error| unreadable(&error))?;
                }
            }
        }
        if store.is_empty() {
            return Err(TlsConfigError::NoRoots);
        }
        Ok(store)
    }
}

/// Checks what was asked for, and that the server has the key of its certificate.
#[derive(Debug)]
struct Verifier {
    issuers: Option<Arc<WebPkiServerVerifier>>,
    names: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(issuers) = &self.issuers else {
            return Ok(ServerCertVerified::assertion());
        };
        match issuers.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last: everything else was good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = TlsStream<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        Ok(Handshake {
            connector: self.0.clone(),
            host: host.to_owned(),
        })
    }
}

/// One handshake to be, or none: a socket of this machine has no name, and no TLS.
pub(super) struct Handshake {
    connector: TlsConnector,
    host: String,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = TlsStream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsStream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from(self.host).map_err(io::Error::other)?;
            Ok(TlsStream(self.connector.connect(name, stream).await?))
        })
    }
}

/// A connection with TLS.
pub(super) struct TlsStream<S>(client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for TlsStream<S> {
    /// A proof that password and TLS end at the same server is for those who do not check certificates, and they can
    /// ask for more.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    };
    use tokio::io::{DuplexStream, duplex};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// An issuer, and a server with a certificate of it for `db.example`.
    struct TlsServer {
        roots: tempfile::NamedTempFile,
        acceptor: TlsAcceptor,
    }

    impl TlsServer {
        fn new() -> Self {
            let key = || KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let issuer = CertifiedIssuer::self_signed(params, key()).unwrap();
            let (params, key) = (CertificateParams::new(["db.example".into()]), key());
            let certificate = params.unwrap().signed_by(&key, &issuer).unwrap();
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
                .unwrap();
            let roots = tempfile::NamedTempFile::new().unwrap();
            let own: &rcgen::Certificate = issuer.as_ref();
            let text = STANDARD.encode(own.der());
            let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
            std::fs::write(roots.path(), pem).unwrap();
            Self {
                roots,
                acceptor: TlsAcceptor::from(Arc::new(config)),
            }
        }

        fn roots(&self) -> Roots {
            Roots::File(self.roots.path().to_owned())
        }

        /// Whether a client connects to this server.
        async fn takes(&self, trust: Trust, roots: &Roots, host: &str) -> bool {
            let mut connector = Connector::new(Some(trust), roots).unwrap();
            let handshake = MakeTlsConnect::<DuplexStream>::make_tls_connect(&mut connector, host);
            let handshake = handshake.unwrap();
            let (near, far) = duplex(64 << 10);
            let connect = TlsConnect::connect(handshake, near);
            let (connected, _) = tokio::join!(connect, self.acceptor.accept(far));
            connected.is_ok()
        }
    }

    #[tokio::test]
    async fn what_is_asked_for_is_checked() {
        let (server, stranger) = (TlsServer::new(), TlsServer::new());
        let (right, wrong) = (server.roots(), stranger.roots());
        for (trust, roots, host, expected) in [
            (Trust::Any, &wrong, "other.example", true),
            (Trust::Issuer, &right, "other.example", true),
            (Trust::Issuer, &wrong, "db.example", false),
            (Trust::Issuer, &wrong, "other.example", false),
            (Trust::IssuerAndName, &right, "db.example", true),
            (Trust::IssuerAndName, &right, "other.example", false),
            (Trust::IssuerAndName, &wrong, "db.example", false),
        ] {
            let taken = server.takes(trust, roots, host).await;
            assert_eq!(taken, expected, "{trust:?} {host}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        let roots = Roots::File(empty.path().to_owned());
        let refused = Connector::new(Some(Trust::Issuer), &roots);
        assert!(matches!(refused.err(), Some(TlsConfigError::NoRoots)));
        let missing = Roots::File("/nonexistent".into());
        let refused = Connector::new(Some(Trust::Issuer), &missing);
        assert!(matches!(refused.err(), Some(TlsConfigError::File { .. })));
    }
}
