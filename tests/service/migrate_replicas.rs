//! `serve migrate` to PostgreSQL and a bucket, and back, with real programs and servers.

use std::{
    path::Path,
    process::{Child, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    postgres::server::Database,
    program::{Program, Remote, audit, names},
    replicas::{Deployment, block, buckets::Buckets, save_v1},
};

const MIB: usize = 1 << 20;

/// Blocks of the entries: what is one request of a bucket, a multipart upload, and crumbs.
const ENTRIES: [(usize, usize); 4] = [(1, 10), (3, 8 * MIB), (40, 1000), (1, MIB)];

/// How many entries more there are.
const SMALL: usize = 30;

const COLUMNS: &str =
    "concat_ws('|', id, repository, scope, version, key, size, created_at, accessed_at)";

fn rows_of_directory(data_dir: &Path) -> Vec<String> {
    let db = rusqlite::Connection::open(data_dir.join("entries.db")).unwrap();
    let sql = format!("SELECT {COLUMNS} FROM entries ORDER BY seq");
    let mut rows = db.prepare(&sql).unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn rows_of_database(database: &Database<'_>) -> Vec<String> {
    let rows = database.query(&format!("SELECT {COLUMNS} FROM entries ORDER BY seq"));
    rows.lines().map(str::to_owned).collect()
}

fn blocks(number: usize) -> Vec<Vec<u8>> {
    let (count, len) = ENTRIES.get(number).copied().unwrap_or((1, 5000));
    (0..count).map(|at| block(number + at, len)).collect()
}

/// Fills the service.
async fn fill(remote: &Remote) {
    for number in 0..ENTRIES.len() + SMALL {
        let key = format!("k#{number}");
        save_v1(std::slice::from_ref(remote), &key, &blocks(number)).await;
    }
}

async fn assert_whole(remote: &Remote) {
    for number in 0..ENTRIES.len() + SMALL {
        let read = remote.read(&format!("k#{number}")).await.unwrap();
        assert!(read == Some(blocks(number).concat()), "k#{number}");
    }
}

/// A service of this machine, and what replicas are to share.
pub struct Move {
    pub team: Deployment,
}

impl Move {
    pub fn new() -> Self {
        let team = Deployment::new(Buckets::s3());
        Self { team }
    }

    pub fn start(&self, name: &str) -> Program {
        let log = self.team.data_dir(&format!("{name}.log"));
        Program::start(&self.team.data_dir(name), &log)
    }

    /// `serve migrate` from a data directory to the replicas' stores, or with `from` and `to` the other way round.
    fn migrate(&self, local: (&str, &str), shared: &str) -> Child {
        let (side, name) = local;
        let data_dir = self.team.data_dir(name);
        self.team
            .program()
            .args(["serve", "migrate", "--output", "json"])
            .arg(format!("--{side}-data-dir={}", data_dir.display()))
            .arg(format!(
                "--{shared}-data-dir={}",
                self.team.data_dir("spool").display()
            ))
            .arg(format!("--{shared}-database={}", self.team.database.url()))
            .arg(format!("--{shared}-store={}", self.team.store))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub fn to_replicas(&self, name: &str) -> Output {
        self.migrate(("from", name), "to")
            .wait_with_output()
            .unwrap()
    }

    pub fn to_directory(&self, name: &str) -> Output {
        std::fs::create_dir_all(self.team.data_dir("spool")).unwrap();
        self.migrate(("to", name), "from")
            .wait_with_output()
            .unwrap()
    }
}

/// How many entries there are, once there are tables.
fn count(database: &Database<'_>) -> Option<u64> {
    let tables = database.query("SELECT to_regclass('instances') IS NOT NULL");
    (tables == "t").then(|| {
        database
            .query("SELECT count(*) FROM entries")
            .parse()
            .unwrap()
    })
}

#[track_caller]
pub fn report(output: &Output) -> Value {
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn a_cache_moves_to_replicas_and_back() {
    let all = (ENTRIES.len() + SMALL) as u64;
    let cache = Move::new();
    let program = cache.start("first");
    let first = cache.team.data_dir("first");
    let remote = program.client(&first);
    fill(&remote).await;
    let words = refusal(&cache.to_replicas("first"));
    assert!(words.contains("in use by another process"), "{words}");
    program.end();

    let before = rows_of_directory(&first);
    let moved = report(&cache.to_replicas("first"));
    assert_eq!(moved["copied"]["entries"], all);
    assert_eq!(moved["verified"], true);
    assert_eq!(rows_of_database(&cache.team.database), before);
    assert_eq!(names(&first.join("blobs")).len() as u64, all);

    // A token of before, and one of now.
    let replica = cache.team.start("replica");
    assert_whole(&remote.at(&replica)).await;
    assert_whole(&cache.team.client(&replica)).await;
    let words = refusal(&cache.to_directory("second"));
    assert!(
        words.contains("a service uses the database of the source"),
        "{words}"
    );
    replica.end();

    let before = rows_of_database(&cache.team.database);
    let moved = report(&cache.to_directory("second"));
    assert_eq!(moved["copied"]["entries"], all);
    let second = cache.team.data_dir("second");
    assert_eq!(rows_of_directory(&second), before);
    audit(&second);
    let program = cache.start("second");
    assert_whole(&remote.at(&program)).await;
    program.end();
}

#[tokio::test]
async fn a_move_that_was_killed_goes_on() {
    let all = (ENTRIES.len() + SMALL) as u64;
    let cache = Move::new();
    let program = cache.start("first");
    let first = cache.team.data_dir("first");
    fill(&program.client(&first)).await;
    program.end();

    for enough in [0, 5] {
        let mut child = cache.migrate(("from", "first"), "to");
        // It may be quicker than this.
        while child.try_wait().unwrap().is_none() {
            if count(&cache.team.database).is_some_and(|count| count >= enough) {
                kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
                break;
            }
        }
        child.wait().unwrap();
        // As if its lease had run out.
        let past = "UPDATE instances SET expires_at = clock_timestamp()";
        cache.team.database.query(past);
    }
    let moved = report(&cache.to_replicas("first"));
    let number = |name: &str| moved[name]["entries"].as_u64().unwrap();
    assert_eq!(number("copied") + number("already_there"), all);
    assert!(number("already_there") >= 5, "{moved}");
    assert_eq!(
        rows_of_database(&cache.team.database),
        rows_of_directory(&first)
    );
    let blobs = Buckets::s3().names(&cache.team.store, "blobs").await;
    assert_eq!(
        blobs.len() as u64,
        all,
        "nothing is left of what was killed"
    );
    let replica = cache.team.start("replica");
    assert_whole(&cache.team.client(&replica)).await;
    replica.end();
}
