//! TLS in front of a service, with a certificate that has signed itself.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{io::copy_bidirectional, net::TcpStream, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{Lab, SOON, command, run};

/// An address that will speak TLS for `localhost`.
pub struct TlsFront {
    listener: TcpListener,
    /// The certificate that it shows.
    pub certificate: PathBuf,
    tls: TlsAcceptor,
}

/// A certificate that has signed itself, good for a day. It is alone in its folder.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// For the address of the gateway's endpoint unless another one is asked for.
    pub fn of_the_endpoint(lab: &Arc<Lab>) -> Self {
        Self::new(lab, "IP:127.0.0.1")
    }

    /// For `name`, as in `IP:127.0.0.1`. A lab has one for each name.
    pub fn new(lab: &Arc<Lab>, name: &str) -> Self {
        let name_of_folder = format!("tls-{}", name.replace(':', "-"));
        let folder = lab.path(&name_of_folder);
        let key = lab.path(format!("{name_of_folder}.key"));
        let certificate = folder.join("own.pem");
        if folder.exists() {
            return Self { certificate, key };
        }
        fs::create_dir(&folder).expect("create a directory");
        let mut openssl = command(lab, "openssl");
        openssl.args(
            "req -x509 -days 1 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256".split(' '),
        );
        openssl.args(["-subj", "/CN=localhost", "-addext"]);
        openssl.arg(format!("subjectAltName={name}"));
        openssl.arg("-out").arg(&certificate);
        openssl.arg("-keyout").arg(&key);
        run(lab, "openssl", openssl, SOON).ok("openssl");
        Self { certificate, key }
    }

    /// What makes a Go program trust it besides what it trusts anyway.
    pub fn trusted_by(&self, program: &mut Command) {
        let folder = self.certificate.parent().expect("a file").display();
        program.env("SSL_CERT_DIR", format!("/etc/ssl/certs:{folder}"));
    }

    /// What makes the gateway show it at its endpoint.
    pub fn shown_by(&self, gateway: &mut Command) {
        gateway.arg("--import-tls-cert").arg(&self.certificate);
        gateway.arg("--import-tls-key").arg(&self.key);
    }
}

impl TlsFront {
    /// Makes the certificate and takes a port.
    pub fn new(lab: &Arc<Lab>) -> Self {
        let Certificate { certificate, key } = Certificate::new(lab, "DNS:localhost");
        let chain = CertificateDer::from_pem_file(&certificate).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&key).expect("a key");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a certificate with its key");
        Self {
            listener: TcpListener::bind(("127.0.0.1", 0)).expect("a port"),
            certificate,
            tls: TlsAcceptor::from(Arc::new(config)),
        }
    }

    /// Where it will listen, with a slash at the end.
    pub fn url(&self) -> String {
        let port = self.listener.local_addr().expect("an address").port();
        format!("https://localhost:{port}/")
    }

    /// Hands all connections on to `service`. Its thread ends with the test process.
    pub fn serve(self, service: SocketAddr) {
        self.listener.set_nonblocking(true).expect("a socket");
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(self.listener).expect("a socket");
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let tls = self.tls.clone();
                    connections.spawn(async move {
                        let mut inner = tls.accept(stream).await.ok()?;
                        let mut outer = TcpStream::connect(service).await.ok()?;
                        copy_bidirectional(&mut inner, &mut outer).await.ok()
                    });
                }
            });
        });
    }
}
