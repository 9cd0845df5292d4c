//! A service on a free port, with a clock that tests move, and the calls of its clients.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use buildkit_gha::{
    lifecycle::Tasks,
    protocol::scope::{Permission, Scope},
    service::{self, Clock, Config, DEFAULT_REPOSITORY, Grant, NewToken, Role, Service},
};
use jiff::Timestamp;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub const VERSION: &str = "v";
pub const MAIN: &str = "refs/heads/main";
pub const HOUR: Duration = Duration::from_hours(1);
const START: i64 = 1_800_000_000;

pub struct Server {
    pub service: Service,
    pub url: String,
    now: Arc<AtomicI64>,
    tasks: Tasks,
    http: Client,
}

impl Server {
    pub async fn start(data_dir: &Path) -> Self {
        Self::start_with(Config::new(data_dir)).await
    }

    pub async fn start_with(config: Config) -> Self {
        let now = Arc::new(AtomicI64::new(START));
        let clock: Clock = {
            let now = Arc::clone(&now);
            Arc::new(move || Timestamp::from_second(now.load(Ordering::SeqCst)).unwrap())
        };
        let service = Service::open(config, clock).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let tasks = Tasks::default();
        let (served, of) = (service.clone(), tasks.clone());
        tasks.spawn("server", async move {
            service::serve(listener, served, &of).await.unwrap();
        });
        let http = Client::builder().no_proxy().build().unwrap();
        Self {
            service,
            url,
            now,
            tasks,
            http,
        }
    }

    /// Ends the service; its data directory can be opened again after this.
    pub async fn stop(self) {
        assert!(self.tasks.drain(Duration::from_secs(10)).await);
        self.service.close().await.unwrap();
    }

    /// The service's time, in seconds.
    pub fn now(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    pub fn advance(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).unwrap();
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn token(&self, scopes: &[(&str, Permission)]) -> String {
        self.token_of(DEFAULT_REPOSITORY, scopes)
    }

    pub fn token_of(&self, repository: &str, scopes: &[(&str, Permission)]) -> String {
        let scopes: Vec<Scope> = scopes.iter().map(|(n, p)| Scope::new(*n, *p)).collect();
        let token = self.service.mint_token(repository, &scopes, 6 * HOUR);
        token.unwrap().expose().to_owned()
    }

    /// An administrator of one repository, or of all.
    pub fn administrator(&self, role: Role, repository: Option<&str>) -> Caller<'_> {
        let token = self.service.mint(NewToken {
            grant: Grant::Administration {
                role,
                repository: repository.map(str::to_owned),
            },
            ttl: 6 * HOUR,
            name: None,
        });
        self.client(token.unwrap().expose().to_owned())
    }

    pub fn client(&self, token: String) -> Caller<'_> {
        Caller {
            server: self,
            token,
        }
    }

    /// A client that may read and write `refs/heads/main`.
    pub fn main(&self) -> Caller<'_> {
        self.client(self.token(&[(MAIN, Permission::READ_WRITE)]))
    }

    /// A client that may delete there, too.
    pub fn keeper(&self) -> Caller<'_> {
        self.client(self.token(&[(MAIN, Permission::READ_WRITE_DELETE)]))
    }

    /// A request without a token, as to signed URLs.
    pub fn plain(&self, method: Method, url: &str) -> RequestBuilder {
        self.http.request(method, url)
    }

    pub async fn get(&self, url: &str) -> Response {
        self.plain(Method::GET, url).send().await.unwrap()
    }

    /// The value of the metric whose line begins so.
    pub async fn metric(&self, name: &str) -> u64 {
        let metrics = self.get(&format!("{}/metrics", self.url)).await;
        let metrics = metrics.text().await.unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    }

    pub async fn get_range(&self, url: &str, range: &str) -> Response {
        let request = self.plain(Method::GET, url).header("range", range);
        request.send().await.unwrap()
    }

    pub async fn put(&self, url: &str, query: &str, body: impl Into<Vec<u8>>) -> Response {
        let request = self.plain(Method::PUT, &format!("{url}{query}"));
        request.body(body.into()).send().await.unwrap()
    }
}

/// Calls with one token.
pub struct Caller<'a> {
    server: &'a Server,
    token: String,
}

impl Caller<'_> {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.server.url);
        self.server
            .http
            .request(method, url)
            .bearer_auth(&self.token)
    }

    async fn v1_post(&self, path: &str, body: Value) -> Response {
        let path = format!("/_apis/artifactcache/{path}");
        self.request(Method::POST, &path)
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    pub async fn reserve(&self, key: &str) -> Response {
        self.v1_post("caches", json!({"key": key, "version": VERSION}))
            .await
    }

    pub async fn reserved(&self, key: &str) -> i64 {
        let response = self.reserve(key).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        body(response).await["cacheId"].as_i64().unwrap()
    }

    pub async fn patch(&self, id: i64, range: &str, part: impl Into<Vec<u8>>) -> StatusCode {
        let path = format!("/_apis/artifactcache/caches/{id}");
        let request = self
            .request(Method::PATCH, &path)
            .header("content-range", range);
        request.body(part.into()).send().await.unwrap().status()
    }

    pub async fn commit(&self, id: i64, size: u64) -> StatusCode {
        let path = format!("caches/{id}");
        self.v1_post(&path, json!({"size": size})).await.status()
    }

    /// The whole of a v1 save.
    pub async fn save(&self, key: &str, content: &[u8]) {
        let id = self.reserved(key).await;
        let range = format!("bytes 0-{}/*", content.len() - 1);
        assert_eq!(
            self.patch(id, &range, content).await,
            StatusCode::NO_CONTENT
        );
        let size = content.len() as u64;
        assert_eq!(self.commit(id, size).await, StatusCode::NO_CONTENT);
    }

    pub async fn lookup(&self, keys: &str) -> Response {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("keys", keys)
            .append_pair("version", VERSION)
            .finish();
        let path = format!("/_apis/artifactcache/cache?{query}");
        self.request(Method::GET, &path).send().await.unwrap()
    }

    /// Key and content URL of the entry that matches.
    pub async fn found(&self, keys: &str) -> Option<(String, String)> {
        let response = self.lookup(keys).await;
        if response.status() == StatusCode::NO_CONTENT {
            return None;
        }
        assert_eq!(response.status(), StatusCode::OK);
        let entry = body(response).await;
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        Some((text("cacheKey"), text("archiveLocation")))
    }

    pub async fn found_key(&self, keys: &str) -> Option<String> {
        self.found(keys).await.map(|(key, _)| key)
    }

    pub async fn twirp(&self, method: &str, message: Value) -> Response {
        let path = format!("/twirp/github.actions.results.api.v1.CacheService/{method}");
        self.request(Method::POST, &path)
            .json(&message)
            .send()
            .await
            .unwrap()
    }

    /// Reserves over v2 and answers where to upload.
    pub async fn create(&self, key: &str) -> String {
        let message = json!({"key": key, "version": VERSION});
        let created = body(self.twirp("CreateCacheEntry", message).await).await;
        assert_eq!(created["ok"], true);
        created["signed_upload_url"].as_str().unwrap().to_owned()
    }

    pub async fn finalize(&self, key: &str, size: u64) -> Response {
        let size = size.to_string();
        let message = json!({"key": key, "version": VERSION, "size_bytes": size});
        self.twirp("FinalizeCacheEntryUpload", message).await
    }
}

pub async fn body(response: Response) -> Value {
    response.json().await.unwrap()
}
