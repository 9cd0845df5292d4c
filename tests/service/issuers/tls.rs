//! An issuer behind TLS, and who believes that it is the issuer.

use std::{fs, path::Path, process::Command, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Client, StatusCode};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::{claims_at, issuer::Issuer, signer::Key};
use crate::program::Program;

/// A certificate of a CA whose own is written to `ca`.
fn identity(ca: &Path) -> TlsAcceptor {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let own: &Certificate = issuer.as_ref();
    let text = BASE64_STANDARD.encode(own.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    fs::write(ca, pem).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into());
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_systems_certificates_say_who_the_issuer_is() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let key = Key::rsa("key");
    let issuer = Issuer::start_tls(identity(&ca), &[&key]).await;
    let token = key.sign(&claims_at(Timestamp::now().as_second(), &issuer.url));
    let client = Client::builder().no_proxy().build().unwrap();
    for (trusting, status) in [
        (true, StatusCode::NO_CONTENT),
        (false, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"));
        if trusting {
            program.env("SSL_CERT_FILE", &ca);
        }
        let (data, log) = (dir.path().join("data"), dir.path().join("log"));
        let flags = ["--listen", "127.0.0.1:0", "--trust-issuer", &issuer.url];
        let program = Program::from(program, &data, &log, &flags);
        let url = format!("{}/_apis/artifactcache/cache?keys=k&version=v", program.url);
        let asked = client.get(url).bearer_auth(&token).send().await.unwrap();
        assert_eq!(asked.status(), status);
        program.end();
        let told = fs::read_to_string(&log).unwrap();
        let warned = told.contains("the keys of an issuer cannot be fetched");
        assert_eq!(warned, !trusting, "{told}");
    }
}
