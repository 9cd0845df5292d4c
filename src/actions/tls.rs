//! Whom we trust over TLS: the system's certificates, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
//!
//! What webpki checks is checked, with one exception that Go programs know too: a server may show
//! a certificate that is itself one of the trusted ones, byte for byte. A self-signed certificate as
//! openssl makes it says that it is an authority, and webpki takes no authority for a server.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// The only protocol that is spoken inside.
const ALPN: &[u8] = b"http/1.1";

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("there is no CA certificate")]
    NoCertificates,
    #[error(transparent)]
    Verifier(#[from] VerifierBuilderError),
    #[error(transparent)]
    Protocol(Error),
}

/// TLS as a client that trusts what the environment says.
pub(super) fn client_config() -> Result<ClientConfig, TlsError> {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::warn!(%error, "a CA certificate cannot be read");
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(loaded.certs, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// webpki's verification, and the one exception.
#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(
        trusted: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(trusted.iter().cloned());
        if roots.is_empty() {
            return Err(TlsError::NoCertificates);
        }
        if ignored > 0 {
            tracing::debug!(ignored, "some CA certificates cannot be used");
        }
        let webpki =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider))
                .build()?;
        Ok(Self { webpki, trusted })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // webpki looks at the time of a certificate before it looks at what the certificate is
            // for, so this error is one of a certificate whose time it is (a test holds this). The
            // name comes after, and the server proves with its signature that the key is its own.
            Err(error) if is_ca_as_end_entity(&error) && self.trusted.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let webpki = &self.webpki;
        webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let webpki = &self.webpki;
        webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

fn is_ca_as_end_entity(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else {
        return false;
    };
    matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Command, time::Duration};

    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    /// A certificate for `localhost` that has signed itself, good for a day, as openssl makes it.
    fn self_signed(dir: &Path, name: &str) -> CertificateDer<'static> {
        let output = Command::new("openssl")
            .args("req -x509 -days 1 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split(' '))
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-keyout", "key.pem", "-out", name])
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        CertificateDer::from_pem_file(dir.join(name)).unwrap()
    }

    fn verifier(trusted: &CertificateDer<'static>) -> Verifier {
        let provider = Arc::new(aws_lc_rs::default_provider());
        Verifier::new(vec![trusted.clone()], &provider).unwrap()
    }

    fn verify(
        verifier: &Verifier,
        shown: &CertificateDer<'_>,
        name: &'static str,
        now: Duration,
    ) -> Result<(), CertificateError> {
        let name = ServerName::try_from(name).unwrap();
        let now = UnixTime::since_unix_epoch(now);
        match verifier.verify_server_cert(shown, &[], &name, &[], now) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_trusted_certificate_is_good_for_its_name_and_its_time_only() {
        let dir = tempfile::tempdir().unwrap();
        let own = self_signed(dir.path(), "own.pem");
        let verifier = verifier(&own);
        let now = Duration::from_secs(UnixTime::now().as_secs());
        verify(&verifier, &own, "localhost", now).unwrap();
        let name = verify(&verifier, &own, "cache.example", now);
        assert!(
            matches!(name, Err(CertificateError::NotValidForNameContext { .. })),
            "{name:?}"
        );
        let late = verify(&verifier, &own, "localhost", now + 2 * DAY);
        assert!(
            matches!(late, Err(CertificateError::ExpiredContext { .. })),
            "{late:?}"
        );
        let early = verify(&verifier, &own, "localhost", Duration::ZERO);
        assert!(
            matches!(early, Err(CertificateError::NotValidYetContext { .. })),
            "{early:?}"
        );
    }

    #[test]
    fn another_certificate_of_the_same_name_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let own = self_signed(dir.path(), "own.pem");
        let other = self_signed(dir.path(), "other.pem");
        let now = Duration::from_secs(UnixTime::now().as_secs());
        let refused = verify(&verifier(&own), &other, "localhost", now);
        assert!(
            matches!(refused, Err(CertificateError::Other(_))),
            "{refused:?}"
        );
    }
}
