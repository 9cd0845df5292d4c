//! A client of the service as a job is one: a connection that is kept, and the calls of v2.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinHandle};

/// Where the calls of v2 are.
const TWIRP: &str = "/twirp/github.actions.results.api.v1.CacheService/";

/// What tells entries of one key apart.
const VERSION: &str = "bench";

/// One connection.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
    address: SocketAddr,
    token: String,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    pub async fn connect(address: SocketAddr, token: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let io = TokioIo::new(stream);
        let (sender, connection) = handshake(io).await.expect("it speaks HTTP");
        #[expect(clippy::disallowed_methods, reason = "ended by Drop")]
        let connection = tokio::spawn(async move {
            // Its end shows at the sender.
            let _ = connection.await;
        });
        let token = format!("Bearer {token}");
        Self {
            sender,
            connection,
            address,
            token,
        }
    }

    /// Stores an entry in one request for its bytes.
    pub async fn store(&mut self, key: &str, content: Bytes) {
        let url = self.reserve(key).await;
        let size = content.len();
        self.put(&url, content).await;
        self.finalize(key, size).await;
    }

    /// Sends a block of an entry.
    pub async fn put_block(&mut self, url: &str, number: usize, block: Bytes) {
        let id = block_id(number);
        self.put(&format!("{url}&comp=block&blockid={id}"), block)
            .await;
    }

    /// Makes an entry of its first `count` blocks.
    pub async fn commit(&mut self, url: &str, key: &str, count: usize, size: usize) {
        let latest = |number| format!("<Latest>{}</Latest>", block_id(number));
        let list: String = (0..count).map(latest).collect();
        let list = format!("<BlockList>{list}</BlockList>");
        self.put(&format!("{url}&comp=blocklist"), list.into())
            .await;
        self.finalize(key, size).await;
    }

    /// The URL of an entry, if there is one.
    pub async fn look_up(&mut self, key: &str) -> Option<String> {
        let body = json!({ "key": key, "restore_keys": [], "version": VERSION });
        let answer = self.call("GetCacheEntryDownloadURL", &body).await;
        answer["signed_download_url"].as_str().map(str::to_owned)
    }

    /// Reads what is behind a URL to its end: how many bytes came.
    pub async fn read(&mut self, url: &str, mut take: impl FnMut(&Bytes)) -> usize {
        let request = self.request("GET", path(url), Bytes::new());
        let mut body = self.send(request).await.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.expect("a whole body").into_data() {
                read += data.len();
                take(&data);
            }
        }
        read
    }

    /// Reserves an entry: where its bytes go.
    pub async fn reserve(&mut self, key: &str) -> String {
        let body = json!({ "key": key, "version": VERSION });
        let answer = self.call("CreateCacheEntry", &body).await;
        let url = answer["signed_upload_url"].as_str();
        url.expect("the key is new").to_owned()
    }

    async fn finalize(&mut self, key: &str, size: usize) {
        let body = json!({ "key": key, "version": VERSION, "size_bytes": size.to_string() });
        let answer = self.call("FinalizeCacheEntryUpload", &body).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }

    async fn call(&mut self, method: &str, body: &Value) -> Value {
        let mut request = self.request("POST", &format!("{TWIRP}{method}"), body.to_string());
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.token.parse().expect("a token"));
        let json = header::HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let answer = self.send(request).await.into_body().collect().await;
        let answer = answer.expect("a whole body").to_bytes();
        serde_json::from_slice(&answer).expect("JSON")
    }

    async fn put(&mut self, url: &str, body: Bytes) {
        let mut request = self.request("PUT", path(url), body);
        let kind = header::HeaderValue::from_static("BlockBlob");
        request.headers_mut().insert("x-ms-blob-type", kind);
        let answer = self.send(request).await.into_body().collect().await;
        answer.expect("a whole body");
    }

    fn request(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::HOST, self.address.to_string());
        request.body(Full::new(body.into())).expect("a request")
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.sender.ready().await.expect("it keeps the connection");
        let answer = self.sender.send_request(request).await;
        let answer = answer.expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
        answer
    }
}

/// Base64 of six bytes.
fn block_id(number: usize) -> String {
    format!("{number:08}")
}

/// A URL without its origin.
fn path(url: &str) -> &str {
    let rest = url.strip_prefix("http://").expect("a URL of the service");
    &rest[rest.find('/').expect("a path")..]
}
