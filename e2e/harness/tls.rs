//! TLS in front of a service, with a certificate that has signed itself.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use hyper::{
    Request, body::Incoming, client::conn::http1 as client, header::HeaderValue,
    server::conn::http1 as server, service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{io::copy_bidirectional, net::TcpStream, sync::Mutex, task::JoinSet};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

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

/// A certificate that has signed itself, good for a day. It is alone in its folder.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// For the address of the gateway's endpoint unless another one is asked for.
    pub fn for_endpoint(lab: &Arc<Lab>) -> Self {
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

    /// The file that it is in.
    pub fn path(&self) -> &Path {
        &self.certificate
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
        self.each_connection(move |mut inner| async move {
            let mut outer = TcpStream::connect(service).await.ok()?;
            copy_bidirectional(&mut inner, &mut outer)
                .await
                .ok()
                .map(drop)
        });
    }

    /// Hands all requests on to `service`, and tells it what each came by, as proxies do.
    pub fn serve_as_proxy(self, service: SocketAddr) {
        let host = self.url();
        let host = host.trim_start_matches("https://").trim_end_matches('/');
        let host: HeaderValue = host.parse().expect("a name and a port");
        self.each_connection(move |inner| {
            let host = host.clone();
            async move {
                let outer = TcpStream::connect(service).await.ok()?;
                let (requests, connection) = client::handshake(TokioIo::new(outer)).await.ok()?;
                let requests = &Mutex::new(requests);
                let proxy = service_fn(|mut request: Request<Incoming>| {
                    let headers = request.headers_mut();
                    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
                    headers.insert("x-forwarded-host", host.clone());
                    headers.insert("host", HeaderValue::from_static("inner.example"));
                    async move {
                        let mut requests = requests.lock().await;
                        requests.ready().await?;
                        requests.send_request(request).await
                    }
                });
                let served = server::Builder::new().serve_connection(TokioIo::new(inner), proxy);
                tokio::select! {
                    served = served => served.ok(),
                    _ = connection => None,
                }
            }
        });
    }

    fn each_connection<F>(self, serve: impl Fn(TlsStream<TcpStream>) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<()>> + Send + 'static,
    {
        let serve = Arc::new(serve);
        self.listener.set_nonblocking(true).expect("a socket");
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(self.listener).expect("a socket");
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let (tls, serve) = (self.tls.clone(), Arc::clone(&serve));
                    connections.spawn(async move {
                        let inner = tls.accept(stream).await.ok()?;
                        serve(inner).await
                    });
                }
            });
        });
    }
}
