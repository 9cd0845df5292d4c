//! An Actions cache that takes all and keeps nothing: what is left is the hop.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, runtime::Runtime};

/// Below this path it takes no entry.
pub const REFUSING: &str = "refusing/";

/// It listens as long as the value lives.
pub struct Sink {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Sink {
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let handle = runtime.handle().clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = service_fn(move |request| answer(request, address));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                handle.spawn(async move {
                    // Clients hang up.
                    let _ = connection.await;
                });
            }
        });
        Self {
            address,
            _runtime: runtime,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

async fn answer(
    request: Request<Incoming>,
    address: SocketAddr,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let refuses = request.uri().path()[1..].starts_with(REFUSING);
    let call = request.uri().path().rsplit('/').next().map(str::to_owned);
    let mut body = request.into_body();
    // Whatever a client sends is dropped as it comes.
    while let Some(Ok(_)) = body.frame().await {}
    let answer = match call.as_deref() {
        Some("CreateCacheEntry") if refuses => json!({ "ok": false, "message": "refused" }),
        Some("CreateCacheEntry") => {
            json!({ "ok": true, "signed_upload_url": format!("http://{address}/blob?sig=none") })
        }
        Some("FinalizeCacheEntryUpload") => json!({ "ok": true, "entry_id": "1" }),
        Some("GetCacheEntryDownloadURL") => json!({ "ok": false }),
        _ => {
            return Ok(Response::builder()
                .status(201)
                .body(Full::default())
                .expect("a status"));
        }
    };
    Ok(Response::new(Full::new(answer.to_string().into())))
}
