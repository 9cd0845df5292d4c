//! Where clients come in: unix sockets and TCP, with TLS as buildkitd has it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::io::BoxedIo;
use crate::net::{Address, Owner, Tls};

/// Who may connect to a unix socket: its owner and its group, as with buildkitd.
const SOCKET_MODE: u32 = 0o660;
/// The directory that is made for a socket.
const SOCKET_DIR_MODE: u32 = 0o770;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refused.
    #[error("cannot listen on {0}: {1}")]
    Socket(Address, #[source] io::Error),
    /// A file of the TLS settings cannot be used.
    #[error("cannot use the TLS file {0}: {1}")]
    TlsFile(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// The TLS settings do not fit together.
    #[error("cannot use the TLS settings: {0}")]
    Tls(#[from] rustls::Error),
    /// The client CA cannot be used.
    #[error("cannot use the client CA {0}: {1}")]
    ClientCa(PathBuf, #[source] rustls::server::VerifierBuilderError),
}

/// A bound address.
pub(crate) struct Listener {
    socket: Socket,
    address: Address,
}

enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener, Option<TlsAcceptor>),
}

/// A client that has connected and said nothing yet.
pub(crate) enum IncomingConnection {
    Unix(UnixStream),
    Tcp(TcpStream, Option<TlsAcceptor>),
}

impl Listener {
    /// Binds `address`; TLS is for TCP only, as with buildkitd.
    pub(crate) async fn bind(
        address: &Address,
        owner: Owner,
        tls: Option<&TlsAcceptor>,
    ) -> Result<Self, BindError> {
        let failed = |error| BindError::Socket(address.clone(), error);
        match address {
            Address::Unix(path) => {
                if tls.is_some() {
                    tracing::warn!(%address, "TLS is disabled for a unix socket");
                }
                let socket = bind_unix(path, owner).map_err(failed)?;
                Ok(Self {
                    socket: Socket::Unix(socket),
                    address: address.clone(),
                })
            }
            Address::Tcp(host) => {
                if tls.is_none() {
                    tracing::warn!(
                        %address,
                        "TLS is not enabled; mutual TLS authentication is highly recommended"
                    );
                }
                let socket = bind_tcp(host).await.map_err(failed)?;
                let bound = socket.local_addr().map_err(failed)?;
                Ok(Self {
                    socket: Socket::Tcp(socket, tls.cloned()),
                    address: Address::Tcp(bound.to_string()),
                })
            }
        }
    }

    /// The address with the port that the system chose.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The next client.
    pub(crate) async fn accept(&self) -> io::Result<(IncomingConnection, String)> {
        match &self.socket {
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((IncomingConnection::Unix(stream), self.address.to_string()))
            }
            Socket::Tcp(socket, tls) => {
                let (stream, peer) = socket.accept().await?;
                Ok((
                    IncomingConnection::Tcp(stream, tls.clone()),
                    peer.to_string(),
                ))
            }
        }
    }
}

impl IncomingConnection {
    /// The client's byte stream, after TLS if there is any.
    pub(crate) async fn open(self) -> io::Result<BoxedIo> {
        match self {
            Self::Unix(stream) => Ok(Box::new(stream)),
            Self::Tcp(stream, tls) => {
                stream.set_nodelay(true)?;
                match tls {
                    None => Ok(Box::new(stream)),
                    Some(tls) => Ok(Box::new(tls.accept(stream).await?)),
                }
            }
        }
    }
}

/// A socket that is there already is replaced, as buildkitd does: who may start the daemon has
/// its lock on the state directory to keep two apart.
fn bind_unix(path: &Path, owner: Owner) -> io::Result<UnixListener> {
    let chown = |path: &Path| std::os::unix::fs::chown(path, owner.uid, owner.gid);
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty())
        && !dir.exists()
    {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(SOCKET_DIR_MODE))?;
        chown(dir)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    chown(path)?;
    Ok(socket)
}

/// `tcp://:1234` is every interface, as in Go.
async fn bind_tcp(host: &str) -> io::Result<TcpListener> {
    match host.strip_prefix(':') {
        None => TcpListener::bind(host).await,
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            // No IPv6 on this machine.
            Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
            bound => bound,
        },
    }
}

/// Reads the files that `tls` names.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, BindError> {
    let bad = |path: &Path| {
        let path = path.to_owned();
        move |error: rustls::pki_types::pem::Error| BindError::TlsFile(path, error)
    };
    let chain = certificates(&tls.cert).map_err(bad(&tls.cert))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(bad(&tls.key))?;
    let builder = ServerConfig::builder();
    let builder = match &tls.ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca).map_err(bad(ca))? {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            let verifier = verifier.map_err(|error| BindError::ClientCa(ca.clone(), error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}
