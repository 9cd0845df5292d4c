use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::StatusCode;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{AdminClient, AdminError, Config, Control, start};
use crate::{
    lifecycle::Tasks,
    stats::{DrainState, DrainStatus, FailedExports, Stats, UnfinishedExport},
};

const LONG: Duration = Duration::from_mins(5);

/// A gateway with exports that the test ends.
#[derive(Default)]
struct Exports {
    left: Mutex<Vec<UnfinishedExport>>,
    failed: Mutex<FailedExports>,
    looks: AtomicUsize,
    unready: Mutex<Option<String>>,
}

impl Exports {
    fn set(&self, scopes: &[&str]) {
        let exports = scopes.iter().map(|scope| UnfinishedExport {
            scope: (*scope).to_owned(),
            layers: 2,
        });
        *self.left.lock() = exports.collect();
    }
}

#[async_trait]
impl Control for Exports {
    async fn unready(&self) -> Option<String> {
        self.unready.lock().clone()
    }

    fn metrics(&self) -> String {
        "x 1\n".to_owned()
    }

    fn stats(&self) -> Stats {
        Stats {
            version: "7".to_owned(),
            ..Stats::default()
        }
    }

    fn unfinished(&self) -> Vec<UnfinishedExport> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.left.lock().clone()
    }

    fn failed(&self) -> FailedExports {
        *self.failed.lock()
    }

    fn spool_bytes(&self) -> u64 {
        5_000_000
    }
}

struct Fixture {
    exports: Arc<Exports>,
    client: AdminClient,
    path: PathBuf,
    tasks: Tasks,
    _dir: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let (exports, tasks) = (Arc::<Exports>::default(), Tasks::default());
        let config = Config {
            socket: Some(path.clone()),
            ..Config::default()
        };
        start(&config, Arc::clone(&exports) as _, &tasks).await;
        Self {
            exports,
            client: AdminClient::new(path.clone()),
            path,
            tasks,
            _dir: dir,
        }
    }

    async fn ready(&self) -> (StatusCode, String) {
        self.client.get("/readyz").await.unwrap()
    }

    async fn becomes_ready(&self) {
        while self.ready().await.0 != StatusCode::OK {}
    }
}

#[tokio::test]
async fn it_tells_what_the_gateway_knows_and_goes_with_it() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.client.stats().await.unwrap().version, "7");
    for (path, text) in [
        ("/healthz", "ok\n"),
        ("/readyz", "ok\n"),
        ("/metrics", "x 1\n"),
    ] {
        let answer = fixture.client.get(path).await.unwrap();
        assert_eq!(answer, (StatusCode::OK, text.to_owned()));
    }
    *fixture.exports.unready.lock() = Some("it is busy".to_owned());
    let expected = (StatusCode::SERVICE_UNAVAILABLE, "it is busy\n".to_owned());
    assert_eq!(fixture.ready().await, expected);
    assert!(fixture.tasks.drain(LONG).await);
    assert!(!fixture.path.exists());
    let absent = fixture.client.stats().await.unwrap_err();
    assert!(matches!(absent, AdminError::Absent(_)), "{absent}");
}

#[tokio::test]
async fn a_drain_tells_what_is_left_and_ends_with_the_last() {
    let fixture = Fixture::new().await;
    fixture.exports.set(&["one", "two"]);
    let mut lines: Vec<DrainStatus> = Vec::new();
    let drained = fixture.client.drain(LONG, |line| {
        // The test ends one export for each line that it has read.
        fixture.exports.set(&["two"][..lines.is_empty().into()]);
        lines.push(line.clone());
    });
    assert_eq!(drained.await.unwrap().state, DrainState::Drained);
    let scopes = |line: &DrainStatus| {
        let scopes = line.exports.iter().map(|export| export.scope.clone());
        scopes.collect::<Vec<_>>()
    };
    let seen: Vec<_> = lines.iter().map(scopes).collect();
    assert_eq!(seen, [vec!["one", "two"], vec!["two"], vec![]]);
    assert_eq!(lines[0].spool_bytes, 5_000_000);
    fixture.becomes_ready().await;
}

#[tokio::test]
async fn a_drain_whose_time_is_over_says_what_is_left() {
    let fixture = Fixture::new().await;
    fixture.exports.set(&["one"]);
    let left = fixture.client.drain(Duration::ZERO, |_| ()).await.unwrap();
    assert_eq!((left.state, left.exports.len()), (DrainState::TimedOut, 1));
    fixture.exports.set(&[]);
    let none = fixture.client.drain(Duration::ZERO, |_| ()).await.unwrap();
    assert_eq!(none.state, DrainState::Drained);
}

#[tokio::test]
async fn a_drain_tells_of_exports_that_failed_and_of_those_that_nobody_knows_of() {
    let fixture = Fixture::new().await;
    let fail = |after_build| {
        let mut failed = fixture.exports.failed.lock();
        failed.all += 1;
        failed.after_build += u64::from(after_build);
    };
    let drain = || async { fixture.client.drain(LONG, |_| ()).await.unwrap().failed };
    assert_eq!(drain().await, 0);
    // The log of its build has the first.
    fail(false);
    fail(true);
    assert_eq!(drain().await, 1);
    assert_eq!(drain().await, 0, "it is told");
    fixture.exports.set(&["one"]);
    let drained = fixture.client.drain(LONG, |line| {
        if line.state == DrainState::Waiting {
            fail(false);
            fixture.exports.set(&[]);
        }
    });
    let drained = drained.await.unwrap();
    assert_eq!((drained.state, drained.failed), (DrainState::Drained, 1));
    assert_eq!(drain().await, 0);
}

#[tokio::test]
async fn nobody_is_ready_while_somebody_drains_and_who_leaves_ends_it() {
    let fixture = Fixture::new().await;
    fixture.exports.set(&["one"]);
    let (begun, mut has_begun) = tokio::sync::watch::channel(false);
    let client = fixture.client.clone();
    let drain = fixture.tasks.spawn_guarded("a drain", async move {
        let _ = client
            .drain(LONG, |_| begun.send_modify(|begun| *begun = true))
            .await;
    });
    has_begun.wait_for(|begun| *begun).await.unwrap();
    let (status, words) = fixture.ready().await;
    assert_eq!((status.as_u16(), &*words), (503, "it is being drained\n"));
    drop(drain);
    fixture.becomes_ready().await;
    let looks = fixture.exports.looks.load(Ordering::Relaxed);
    assert!(looks > 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let fixture = Fixture::new().await;
    let missing = fixture.client.get("/v2/stats").await.unwrap();
    assert_eq!(missing.0, StatusCode::NOT_FOUND);
    // Not a drain: that is a POST.
    let get = fixture.client.get("/v1/drain").await.unwrap();
    assert_eq!(get.0, StatusCode::METHOD_NOT_ALLOWED);
}
