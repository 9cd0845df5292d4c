//! A proxy in front of a bucket that fails a part of the calls, some of them after it has had them done.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use buildkit_gha::lifecycle::Tasks;
use http_body_util::BodyExt as _;
use hyper::{Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::{Body, Client, StatusCode};
use tokio::net::TcpListener;

/// What happens to a call.
enum Fault {
    Status(StatusCode),
    Reset,
    DoneAndStatus(StatusCode),
    DoneAndReset,
    Delay(Duration),
    None,
}

struct Inner {
    bucket: String,
    http: Client,
    /// Longest delay of an answer.
    delay_millis: u64,
    rng: Mutex<StdRng>,
    faulty: AtomicBool,
    faults: AtomicU64,
    tasks: Tasks,
}

/// A running proxy; it ends with the runtime.
#[derive(Clone)]
pub struct FaultyBucket(Arc<Inner>);

impl FaultyBucket {
    /// Starts one in front of `bucket`: itself, and its URL.
    pub async fn start(bucket: String, seed: u64, delay_millis: u64) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Self(Arc::new(Inner {
            bucket,
            http: Client::builder().no_proxy().build().unwrap(),
            delay_millis,
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            faulty: AtomicBool::new(true),
            faults: AtomicU64::new(0),
            tasks: Tasks::default(),
        }));
        proxy
            .0
            .tasks
            .spawn("faulty bucket", proxy.clone().accept(listener));
        (proxy, url)
    }

    /// Fails nothing more. Answers how many calls it has failed.
    pub fn heal(&self) -> u64 {
        self.0.faulty.store(false, Ordering::SeqCst);
        self.0.faults.load(Ordering::SeqCst)
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let proxy = self.clone();
            let service = service_fn(move |request| proxy.clone().answer(request));
            self.0.tasks.spawn("connection", async move {
                // A failure is a reset that was meant, or a client that was killed.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    /// Five of a hundred calls fail, and as many are late.
    fn fault(&self) -> Fault {
        if !self.0.faulty.load(Ordering::SeqCst) {
            return Fault::None;
        }
        let mut rng = self.0.rng.lock();
        let fault = match rng.random_range(0..100) {
            0 => Fault::Status(StatusCode::SERVICE_UNAVAILABLE),
            1 => Fault::Status(StatusCode::INTERNAL_SERVER_ERROR),
            2 => Fault::DoneAndStatus(StatusCode::INTERNAL_SERVER_ERROR),
            3 => Fault::Reset,
            4 => Fault::DoneAndReset,
            5..10 => {
                let millis = rng.random_range(0..self.0.delay_millis);
                return Fault::Delay(Duration::from_millis(millis));
            }
            _ => return Fault::None,
        };
        self.0.faults.fetch_add(1, Ordering::SeqCst);
        fault
    }

    async fn answer(self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        match self.fault() {
            Fault::Status(status) => Ok(failure(status)),
            Fault::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            Fault::DoneAndStatus(status) => {
                self.send(request).await?;
                Ok(failure(status))
            }
            Fault::DoneAndReset => {
                self.send(request).await?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                self.send(request).await
            }
            Fault::None => self.send(request).await,
        }
    }

    /// Sends a call on as it came: its signature is about its `Host`, too.
    async fn send(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let mut headers = head.headers;
        headers.remove(header::CONNECTION);
        let call = self
            .0
            .http
            .request(head.method, format!("{}{}", self.0.bucket, head.uri))
            .headers(headers)
            .body(body);
        Ok(call.send().await.map_err(io::Error::other)?.into())
    }
}

fn failure(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from("a fault"));
    *response.status_mut() = status;
    response
}
