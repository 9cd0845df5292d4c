//! More connections than there are places: of clients without a token, and of one with a token.

use std::{fs, time::Duration};

use buildkit_gha::lifecycle::raise_file_limit;
use futures_util::future::join_all;
use reqwest::{Client, Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::program::{Program, Remote};

/// Far more than any answer here takes, and far less than it takes to wait for the others to give up.
const SOON: Duration = Duration::from_secs(10);

/// Memory that a crowd must not make the service take.
const MEMORY_KIB: u64 = 150 << 10;

struct Crowd {
    dir: tempfile::TempDir,
    program: Program,
    remote: Remote,
    others: Vec<TcpStream>,
}

impl Crowd {
    fn new() -> Self {
        raise_file_limit().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("cache");
        let program = Program::start(&data, &dir.path().join("log"));
        let remote = program.client(&data);
        Self {
            dir,
            program,
            remote,
            others: Vec::new(),
        }
    }

    /// A client for another repository.
    fn stranger(&self) -> Remote {
        self.program
            .client_of(&self.dir.path().join("cache"), "other/repo")
    }

    /// So many connections, each of which sends this and no more.
    async fn gather(&mut self, count: usize, bytes: impl Fn(usize) -> String) {
        let address = self.program.url.strip_prefix("http://").unwrap();
        for n in 0..count {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Whoever is sent away at once may be sent away before this.
            let _ = stream.write_all(bytes(n).as_bytes()).await;
            self.others.push(stream);
        }
    }

    /// The first line of what each connection is answered, in the order of their coming.
    async fn answers(&mut self) -> Vec<Option<u16>> {
        join_all(self.others.iter_mut().map(|stream| async move {
            let mut head = [0; 12];
            let read = tokio::time::timeout(SOON, stream.read_exact(&mut head)).await;
            read.ok()?.ok()?;
            str::from_utf8(&head[9..]).ok()?.parse().ok()
        }))
        .await
    }

    /// Fails unless probes and clients of another repository are answered soon.
    async fn others_are_served(&mut self, remote: &Remote) {
        // Connections of their own, as those of somebody who comes now.
        let fresh = Client::builder().no_proxy().timeout(SOON).build().unwrap();
        let health = fresh.get(format!("{}/healthz", self.program.url)).send();
        assert_eq!(health.await.expect("an answer").status(), StatusCode::OK);
        let lookup = tokio::time::timeout(SOON, remote.find("nothing")).await;
        assert_eq!(lookup.expect("an answer in time").unwrap(), None);
        self.program.is_sound();
    }

    fn memory_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.program.pid().as_raw_nonzero());
        let status = fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let mut words = line.unwrap().split_whitespace();
        words.nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sockets_keep_nobody_out() {
    let mut crowd = Crowd::new();
    crowd.gather(2_000, |_| String::new()).await;
    let remote = crowd.remote.clone();
    crowd.others_are_served(&remote).await;
}

/// Half a request is no better than none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_do_not_end_keep_nobody_out() {
    let mut crowd = Crowd::new();
    let head = "POST /_apis/artifactcache/caches HTTP/1.1\r\nhost: x\r\nx: ";
    crowd.gather(2_000, |_| head.to_owned()).await;
    let remote = crowd.remote.clone();
    crowd.others_are_served(&remote).await;
}

/// Whoever has no token is told so before anybody waits for the rest of its request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_a_token_are_not_waited_for() {
    let mut crowd = Crowd::new();
    let paths = [
        "POST /_apis/artifactcache/caches",
        "POST /_apis/artifactcache/caches/7",
        "PATCH /_apis/artifactcache/caches/7",
        "POST /twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry",
        "POST /twirp/github.actions.results.api.v1.CacheService/FinalizeCacheEntryUpload",
        "POST /twirp/github.actions.results.api.v1.CacheService/GetCacheEntryDownloadURL",
        "PUT /blobs/actions-cache/7?se=9999999999&sp=w&sig=AAAA",
    ];
    let request = |n: usize| {
        let path = paths[n % paths.len()];
        format!(
            "{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x.y.z\r\n\
             content-type: application/json\r\ncontent-length: 200000\r\n\r\n{{"
        )
    };
    crowd.gather(paths.len(), request).await;
    for (answer, path) in crowd.answers().await.iter().zip(paths) {
        let expected = if path.starts_with("PUT") { 403 } else { 401 };
        assert_eq!(*answer, Some(expected), "{path}");
    }
    crowd.gather(1_500, request).await;
    let remote = crowd.remote.clone();
    crowd.others_are_served(&remote).await;
    let memory = crowd.memory_kib();
    assert!(memory < MEMORY_KIB, "{memory} KiB");
}

/// A token opens as many requests as its repository may have, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_repository_does_not_take_all_places() {
    let mut crowd = Crowd::new();
    let stranger = crowd.stranger();
    let reserved = stranger.reserve("large").await.unwrap().json();
    let id = reserved["cacheId"].as_i64().unwrap();
    let part = |n: usize| {
        let (token, begin, end) = (&stranger.token, n * 1000, n * 1000 + 999);
        format!(
            "PATCH /_apis/artifactcache/caches/{id} HTTP/1.1\r\nhost: x\r\n\
             authorization: Bearer {token}\r\ncontent-range: bytes {begin}-{end}/*\r\n\
             content-length: 1000\r\n\r\nx"
        )
    };
    crowd.gather(1_300, part).await;
    let remote = crowd.remote.clone();
    crowd.others_are_served(&remote).await;
    let refused = Remote::send(stranger.request(Method::GET, "/repos/other/repo/actions/caches"));
    let refused = refused.await.unwrap();
    assert_eq!(
        refused.status,
        StatusCode::TOO_MANY_REQUESTS,
        "{}",
        refused.text()
    );
}
