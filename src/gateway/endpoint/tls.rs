//! TLS on the way between buildkitd and the endpoint: build steps may listen there.
//!
//! Steps that have no network of their own share buildkitd's, with `CAP_NET_RAW`: whatever passes on
//! 127.0.0.1 passes before their eyes.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::net;

/// The only protocol that the endpoint speaks.
const ALPN: &[u8] = b"http/1.1";

/// Random bytes of a serial number; certificates with one issuer and one number would be confused.
const SERIAL_BYTES: usize = 16;

/// The line length of PEM.
const PEM_LINE: usize = 64;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A file cannot be used.
    #[error("cannot use {0}: {1}")]
    File(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// A certificate and its key do not fit.
    #[error("cannot use the certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// What the endpoint shows, and what whoever connects must trust.
pub(crate) struct Identity {
    acceptor: TlsAcceptor,
    certificate: CertificateDer<'static>,
}

impl Identity {
    /// A certificate for `address` that nobody else has: it lives as long as this process, and its key
    /// never leaves it. It is no authority, so who trusts it trusts nothing but this one server.
    pub fn ephemeral(address: IpAddr) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress(address)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.serial_number = Some(SerialNumber::from_slice(&super::handle::random::<
            SERIAL_BYTES,
        >()));
        let certificate = params.self_signed(&key)?.der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Self::from_chain(vec![certificate], key.into())
    }

    /// A certificate of the operator's, which buildkitd has been made to trust.
    pub fn from_files(files: &net::Tls) -> Result<Self, TlsError> {
        let bad = |path: &PathBuf| {
            let path = path.clone();
            move |error| TlsError::File(path, error)
        };
        let chain = CertificateDer::pem_file_iter(&files.cert)
            .and_then(Iterator::collect)
            .map_err(bad(&files.cert))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(bad(&files.key))?;
        Self::from_chain(chain, key)
    }

    fn from_chain(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let certificate = chain.first().cloned().unwrap_or_else(|| Vec::new().into());
        // Every Go that BuildKit was ever built with speaks the newest version.
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .with_no_client_auth()
                .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
        })
    }

    /// The certificate as a file has it.
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(&self.certificate);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            // Base64 is ASCII: every place is one between characters.
            let (line, later) = rest.split_at(rest.len().min(PEM_LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = later;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use reqwest::{Certificate, Client};
    use tokio::{io::AsyncReadExt as _, net::TcpStream, time::Instant};

    use super::*;
    use crate::{
        gateway::endpoint::{Endpoint, STALL_TIMEOUT},
        lifecycle::Tasks,
    };

    const ADDRESS: [u8; 4] = [127, 77, 0, 9];

    fn client(trusted: Option<&Identity>) -> Client {
        let mut client = Client::builder().no_proxy().timeout(Duration::from_mins(1));
        if let Some(trusted) = trusted {
            let certificate = Certificate::from_pem(trusted.pem().as_bytes());
            client = client.tls_certs_only([certificate.unwrap()]);
        }
        client.build().unwrap()
    }

    #[tokio::test]
    async fn it_is_trusted_for_its_address_by_whoever_was_given_it() {
        let identity = Identity::ephemeral(ADDRESS.into()).unwrap();
        let another = Identity::ephemeral(ADDRESS.into()).unwrap();
        let tasks = Tasks::default();
        let listen = SocketAddr::from((ADDRESS, 0));
        let endpoint = Endpoint::bind(listen, None, Some(&identity), STALL_TIMEOUT, &tasks);
        let endpoint = endpoint.await.unwrap();
        let url = endpoint.url.clone();
        assert_eq!(url.scheme(), "https");
        let answer = client(Some(&identity)).get(url.clone()).send().await;
        assert_eq!(answer.unwrap().status(), 404, "there is no handle in it");
        client(Some(&another))
            .get(url.clone())
            .send()
            .await
            .unwrap_err();
        client(None).get(url.clone()).send().await.unwrap_err();

        // The same server under a name that the certificate does not have.
        let mut elsewhere = url;
        elsewhere.set_ip_host([127, 0, 0, 1].into()).unwrap();
        let port = elsewhere.port().unwrap();
        let endpoint = Endpoint::bind(
            SocketAddr::from(([127, 0, 0, 1], port)),
            None,
            Some(&identity),
            STALL_TIMEOUT,
            &tasks,
        );
        let _endpoint = endpoint.await.unwrap();
        client(Some(&identity))
            .get(elsewhere)
            .send()
            .await
            .unwrap_err();
    }

    /// The clock stands still but for what waits for it.
    #[tokio::test(start_paused = true)]
    async fn who_does_not_greet_gives_its_place_back() {
        let identity = Identity::ephemeral(ADDRESS.into()).unwrap();
        let tasks = Tasks::default();
        let listen = SocketAddr::from((ADDRESS, 0));
        let endpoint = Endpoint::bind(listen, None, Some(&identity), STALL_TIMEOUT, &tasks);
        let endpoint = endpoint.await.unwrap();
        let port = endpoint.url.port().unwrap();
        let mut silent = TcpStream::connect((IpAddr::from(ADDRESS), port))
            .await
            .unwrap();
        let begun = Instant::now();
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
        assert!(
            begun.elapsed() <= Duration::from_mins(1),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(endpoint.connections(), 0);
    }

    #[test]
    fn it_is_no_authority_and_its_file_is_as_others_write_them() {
        let identity = Identity::ephemeral(ADDRESS.into()).unwrap();
        let pem = identity.pem();
        assert!(pem.lines().all(|line| line.len() <= PEM_LINE), "{pem}");
        let read = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert_eq!(read, identity.certificate);
        let mut openssl = std::process::Command::new("openssl");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem).unwrap();
        let shown = openssl
            .args(["x509", "-noout", "-text", "-in"])
            .arg(file.path());
        let shown = String::from_utf8(shown.output().unwrap().stdout).unwrap();
        assert!(shown.contains("CA:FALSE"), "{shown}");
        assert!(shown.contains("IP Address:127.77.0.9"), "{shown}");
    }
}
