//! Proxies and trust come from the environment, which a test cannot change for itself: each of
//! these tests runs an ignored one in a process of its own.

use std::{path::Path, process::Stdio, sync::Arc};

use buildkit_gha::actions::Api;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use crate::fake::{Fake, client, quick, say};

const TARGET: &str = "TEST_TARGET";

/// Runs the lookup below with an environment. What it prints, and whether it went well.
async fn look(target: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("environment::lookup_at_the_target")
        .env(TARGET, target)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success() && text.contains("1 passed"), text)
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn lookup_at_the_target() {
    #[allow(
        clippy::disallowed_methods,
        reason = "how the parent tells this test its target"
    )]
    let target = std::env::var(TARGET).unwrap();
    let client = client(Api::V1(target.parse().unwrap()), quick());
    assert!(client.lookup("k", "v").await.unwrap().is_none());
}

#[tokio::test]
async fn a_proxy_is_used_for_all_but_loopback() {
    let proxy = Fake::start(|_, _| say(204, "")).await;
    let service = Fake::start(|_, _| say(204, "")).await;
    let environment = [("HTTP_PROXY", proxy.base.as_str())];
    let (ok, text) = look("http://cache.invalid/", &environment).await;
    assert!(ok, "{text}");
    let [seen] = &proxy.seen()[..] else {
        panic!("the proxy is asked once")
    };
    assert_eq!(seen.header("host"), "cache.invalid");
    let (ok, text) = look(service.base.as_str(), &environment).await;
    assert!(ok, "{text}");
    assert_eq!((proxy.seen().len(), service.seen().len()), (1, 1));
}

/// Runs openssl, which every machine with CA certificates has.
async fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A TLS server for `localhost`, with the certificate of an authority that no system knows and
/// that is left in `ca.pem`.
async fn private_authority(dir: &Path) -> TlsAcceptor {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost").unwrap();
    openssl(
        dir,
        &format!("req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.pem"),
    )
    .await;
    openssl(
        dir,
        &format!("req {key} -subj /CN=localhost -keyout key.pem -out request.pem"),
    )
    .await;
    let sign = "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial";
    openssl(dir, &format!("{sign} -extfile names -out cert.pem")).await;
    acceptor(dir)
}

/// A TLS server for `localhost` that shows `cert.pem`.
fn acceptor(dir: &Path) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(dir.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_private_authority_is_trusted_through_ssl_cert_file() {
    let dir = tempfile::TempDir::new().unwrap();
    let tls = private_authority(dir.path()).await;
    let service = Fake::start_tls(tls, |_, _| say(204, "")).await;
    let (ok, text) = look(service.base.as_str(), &[]).await;
    assert!(!ok && text.contains("certificate"), "{text}");
    assert!(text.contains("Unreachable(Tls)"), "{text}");
    let ca = dir.path().join("ca.pem");
    let environment = [("SSL_CERT_FILE", ca.to_str().unwrap())];
    let (ok, text) = look(service.base.as_str(), &environment).await;
    assert!(ok, "{text}");
    assert_eq!(service.seen().len(), 1);
}

/// Programs in Go take a trusted certificate from a server as it is, whatever it says of itself.
#[tokio::test]
async fn a_self_signed_certificate_is_trusted_through_ssl_cert_file() {
    for constraints in ["critical,CA:TRUE", "critical,CA:FALSE"] {
        let dir = tempfile::TempDir::new().unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem";
        let name = "-subj /CN=localhost -addext subjectAltName=DNS:localhost";
        let own = format!("-addext basicConstraints={constraints} -out cert.pem");
        openssl(dir.path(), &format!("req -x509 {key} {name} {own}")).await;
        let service = Fake::start_tls(acceptor(dir.path()), |_, _| say(204, "")).await;
        let (ok, text) = look(service.base.as_str(), &[]).await;
        assert!(!ok && text.contains("certificate"), "{text}");
        let certificate = dir.path().join("cert.pem");
        let environment = [("SSL_CERT_FILE", certificate.to_str().unwrap())];
        let (ok, text) = look(service.base.as_str(), &environment).await;
        assert!(ok, "{constraints}: {text}");
        let path = dir.path().to_str().unwrap();
        let (ok, text) = look(service.base.as_str(), &[("SSL_CERT_DIR", path)]).await;
        assert!(ok, "{constraints}: {text}");
        // Trust in the certificate is none in another name.
        let other = service.base.as_str().replace("localhost", "127.0.0.1");
        let (ok, text) = look(&other, &environment).await;
        assert!(!ok && text.contains("certificate"), "{text}");
    }
}
