//! TLS in front of a service, with a certificate that has signed itself.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
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
    /// The key of that.
    pub key: PathBuf,
    tls: TlsAcceptor,
}

impl TlsFront {
    /// Makes the certificate and takes a port.
    pub fn new(lab: &Arc<Lab>) -> Self {
        let folder = lab.path("tls");
        std::fs::create_dir(&folder).expect("create a directory");
        let (certificate, key) = (folder.join("own.pem"), lab.path("own.key"));
        let mut openssl = command(lab, "openssl");
        openssl.args(
            "req -x509 -days 1 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256".split(' '),
        );
        openssl.args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ]);
        openssl
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key);
        run(lab, "openssl", openssl, SOON).ok("openssl");
        let chain = CertificateDer::from_pem_file(&certificate).expect("a certificate");
        let private = PrivateKeyDer::from_pem_file(&key).expect("a key");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![chain], private)
            .expect("a certificate with its key");
        Self {
            listener: TcpListener::bind(("127.0.0.1", 0)).expect("a port"),
            certificate,
            key,
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
