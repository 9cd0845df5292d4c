//! Round trips through the embedded service, over both versions of the API.

use std::{
    io,
    ops::Range,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buildkit_gha::{
    actions::{
        Api, Client, ClientConfig, Http, HttpConfig, Kind, PART_BYTES, Reserved, RestTarget,
        Source, Target, Token,
    },
    lifecycle::{TaskGuard, Tasks},
    protocol::scope::{Permission, Scope},
    service::{Config, Service, serve, system_clock},
};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use url::Url;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 70 * MIB + 7;
const REPOSITORY: &str = "owner/repo";

struct Running {
    base: Url,
    service: Service,
    _task: TaskGuard,
    _dir: TempDir,
}

async fn start() -> Running {
    let dir = TempDir::new().unwrap();
    let service = Service::open(Config::new(dir.path()), system_clock())
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    let tasks = Tasks::default();
    let (served, connections) = (service.clone(), tasks.clone());
    let task = tasks.spawn_guarded("service", async move {
        serve(listener, served, &connections).await.unwrap();
    });
    Running {
        base: base.parse().unwrap(),
        service,
        _task: task,
        _dir: dir,
    }
}

impl Running {
    fn client(&self, api: fn(Url) -> Api, permission: Permission) -> Client {
        let scopes = [Scope::new("refs/heads/main", permission)];
        let hour = Duration::from_hours(1);
        let token = self.service.mint_token(REPOSITORY, &scopes, hour).unwrap();
        let rest = RestTarget {
            base: self.base.clone(),
            repository: REPOSITORY.to_owned(),
            token: token.clone(),
        };
        let target = Target {
            api: api(self.base.clone()),
            token: Token::parse(token).unwrap(),
            rest: Some(rest),
        };
        let http = Http::new(&HttpConfig::default()).unwrap();
        Client::new(http, target, ClientConfig::default())
    }
}

/// Content that shows what is at the wrong place: the numbers below a prime, over and over. Its
/// later parts are there before the earlier ones.
struct Generated;

const PERIOD: u64 = 251;

/// The content repeats, so any stretch of it is in here.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let period: Vec<u8> = (0..251).collect();
    Bytes::from(period.repeat(usize::try_from(PART_BYTES / PERIOD + 2).unwrap()))
});

/// The bytes of a range that is no longer than a part.
fn content(range: Range<u64>) -> Bytes {
    let start = usize::try_from(range.start % PERIOD).unwrap();
    PATTERN.slice(start..start + usize::try_from(range.end - range.start).unwrap())
}

#[async_trait::async_trait]
impl Source for Generated {
    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        for _ in 0..(SIZE - range.start) / MIB {
            tokio::task::yield_now().await;
        }
        Ok(content(range))
    }
}

async fn round_trip(api: fn(Url) -> Api) {
    let running = start().await;
    let client = running.client(api, Permission::READ_WRITE);
    let Reserved::Created(reservation) = client.reserve("layer-1", "v").await.unwrap() else {
        panic!("the key is new")
    };
    assert!(matches!(
        client.reserve("layer-1", "v").await,
        Ok(Reserved::Exists)
    ));
    assert!(
        client.lookup("layer-1", "v").await.unwrap().is_none(),
        "it is not finished"
    );
    let confirmed = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&confirmed);
    let progress = Arc::new(move |bytes| told.store(bytes, Ordering::Relaxed));
    client
        .upload(&reservation, SIZE, Arc::new(Generated), progress)
        .await
        .unwrap();
    assert_eq!(confirmed.load(Ordering::Relaxed), SIZE);

    let entry = client.lookup("layer-", "v").await.unwrap().unwrap();
    assert_eq!(entry.key, "layer-1");
    assert_eq!(client.probe(&entry, 4).await.unwrap().total, SIZE);
    for range in [0..5, 8 * MIB - 3..8 * MIB + 3, SIZE - 4..SIZE] {
        let expected = content(range.clone());
        let pieces: Vec<_> = client
            .read(&entry, range)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(pieces.concat(), expected);
    }
    let all = client.read_all(&entry, SIZE).await.unwrap();
    let pieces = all.chunks(usize::try_from(MIB).unwrap()).zip(0..);
    for (piece, index) in pieces {
        let start = index * MIB;
        assert!(
            piece == content(start..start + piece.len() as u64),
            "at {start}"
        );
    }
    assert!(client.lookup("layer-1", "other").await.unwrap().is_none());
}

#[tokio::test]
async fn a_large_entry_over_v1() {
    round_trip(Api::V1).await;
}

#[tokio::test]
async fn a_large_entry_over_v2() {
    round_trip(Api::V2).await;
}

#[tokio::test]
async fn small_and_empty_entries_and_a_listing() {
    let running = start().await;
    for (api, name) in [(Api::V1 as fn(Url) -> Api, "v1"), (Api::V2, "v2")] {
        let client = running.client(api, Permission::READ_WRITE);
        for content in ["", "hello"] {
            let key = format!("{name}-{}", content.len());
            let Reserved::Created(reservation) = client.reserve(&key, "v").await.unwrap() else {
                panic!("the key is new")
            };
            client
                .upload_bytes(&reservation, Bytes::from_static(content.as_bytes()))
                .await
                .unwrap();
            let entry = client.lookup(&key, "v").await.unwrap().unwrap();
            let probe = client.probe(&entry, 10).await.unwrap();
            assert_eq!(
                (probe.total, &*probe.head),
                (content.len() as u64, content.as_bytes())
            );
            assert_eq!(client.read_all(&entry, 10).await.unwrap(), content);
        }
        let listed = client.list(&format!("{name}-")).await.unwrap();
        let sizes: Vec<_> = listed.iter().map(|cache| cache.size_in_bytes).collect();
        assert_eq!(sizes, [0, 5]);
    }
}

#[tokio::test]
async fn a_token_that_may_only_read_is_denied_in_words() {
    let running = start().await;
    for api in [Api::V1 as fn(Url) -> Api, Api::V2] {
        let client = running.client(api, Permission::READ);
        let error = client.reserve("k", "v").await.unwrap_err();
        assert_eq!(error.kind, Kind::Denied);
        assert!(!error.message.is_empty());
    }
}
