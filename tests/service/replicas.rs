//! Several processes of `serve` that share a database and a bucket, on real servers.

#[path = "../buckets/mod.rs"]
pub mod buckets;

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use self::buckets::Buckets;
use crate::{
    postgres::server::{Database, Postgres},
    program::{Answer, Gone, Program, Remote, names},
};

pub const MIB: usize = 1 << 20;

/// What replicas share.
pub struct Deployment {
    dir: TempDir,
    pub database: Database<'static>,
    /// None if the content is in a directory.
    buckets: Option<&'static Buckets>,
    pub store: String,
}

impl Deployment {
    pub fn new(buckets: &'static Buckets) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            database: Postgres::shared().database(),
            buckets: Some(buckets),
            store: buckets.new_place(),
        }
    }

    /// Replicas whose content is in a directory.
    fn in_directory() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            store: format!("file://{}/shared", dir.path().display()),
            dir,
            database: Postgres::shared().database(),
            buckets: None,
        }
    }

    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program, with what it needs to reach the content.
    pub fn program(&self) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"));
        program.envs(self.buckets.iter().flat_map(|buckets| buckets.variables()));
        program
    }

    /// A replica with a directory of its own.
    pub fn start(&self, name: &str) -> Program {
        self.start_with(name, &[])
    }

    /// The same with more flags.
    pub fn start_with(&self, name: &str, more: &[&str]) -> Program {
        let (data_dir, log) = (self.data_dir(name), self.data_dir(&format!("{name}.log")));
        let url = self.database.url();
        let flags = [
            ["--listen", "127.0.0.1:0"],
            ["--database", &url],
            ["--store", &self.store],
        ];
        let flags = [&flags.concat()[..], more].concat();
        Program::from(self.program(), &data_dir, &log, &flags)
    }

    /// What `serve` says of a store that it cannot use.
    pub fn refusal(&self, flags: &[&str], change: Option<(&str, &str)>) -> String {
        let mut command = self.program();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.data_dir("refused"))
            .args(flags);
        if let Some((name, value)) = change {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// The names of the objects in a folder of the bucket.
    pub async fn objects(&self, folder: &str) -> BTreeSet<String> {
        self.buckets.unwrap().names(&self.store, folder).await
    }

    /// Removes the objects in a folder of the bucket.
    pub async fn remove_objects(&self, folder: &str) {
        self.buckets.unwrap().remove(&self.store, folder).await;
    }

    pub fn client(&self, program: &Program) -> Remote {
        program.client_of_database(&self.database.url())
    }
}

/// A block that is nobody else's.
pub fn block(number: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| u8::try_from((number + (at >> 12)) % 251).unwrap();
    (0..len).map(byte).collect()
}

pub fn assert_status(answer: Result<Answer, Gone>, status: u16) {
    let answer = answer.unwrap();
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
}

/// Uploads `blocks` with version 1; the calls go round all replicas.
pub async fn save_v1(remotes: &[Remote], key: &str, blocks: &[Vec<u8>]) {
    let mut turns = remotes.iter().cycle();
    let mut next = || turns.next().unwrap();
    let id = next().reserve(key).await.unwrap().json()["cacheId"].as_i64();
    let (id, mut start) = (id.unwrap(), 0);
    for block in blocks {
        assert_status(next().patch(id, start, block).await, 204);
        start += block.len();
    }
    assert_status(next().commit(id, start).await, 204);
}

/// The same with version 2: the blocks come in the order `order`.
pub async fn save_v2(
    remotes: &[Remote],
    programs: &[&Program],
    key: &str,
    blocks: &[Vec<u8>],
    order: &[usize],
) {
    let mut turn = 0;
    let mut next = |turns: usize| {
        turn += 1;
        turn % turns
    };
    let created = remotes[0].create(key).await.unwrap().json();
    let url = created["signed_upload_url"].as_str().unwrap().to_owned();
    let path = url.strip_prefix(&programs[0].url).unwrap();
    let id = |block: usize| STANDARD.encode(format!("{block:04}"));
    for block in order {
        let at = next(remotes.len());
        let url = format!("{}{path}", programs[at].url);
        let query = format!("&comp=block&blockid={}", id(*block));
        assert_status(
            remotes[at].put(&url, &query, blocks[*block].clone()).await,
            201,
        );
    }
    let ids: Vec<_> = (0..blocks.len()).map(id).collect();
    let ids = ids.join("</Latest><Latest>");
    let list = format!("<BlockList><Latest>{ids}</Latest></BlockList>").into_bytes();
    let at = next(remotes.len());
    let url = format!("{}{path}", programs[at].url);
    assert_status(remotes[at].put(&url, "&comp=blocklist", list).await, 201);
    let size = blocks.iter().map(Vec::len).sum();
    let finalized = remotes[next(remotes.len())]
        .finalize(key, size)
        .await
        .unwrap();
    assert_eq!(finalized.json()["ok"], true, "{}", finalized.text());
}

pub async fn assert_there(remotes: &[Remote], key: &str, content: &[u8]) {
    for remote in remotes {
        let read = remote.read(key).await.unwrap();
        assert!(read.as_deref() == Some(content), "{key}");
    }
}

async fn any_replica_takes_any_call(team: Deployment) {
    let (one, other) = (team.start("one"), team.start("other"));
    let remotes = [team.client(&one), team.client(&other)];
    // Small ones, and such as are a multipart upload.
    let small: Vec<_> = (0..3).map(|number| block(number, 1000)).collect();
    let large: Vec<_> = (0..9).map(|number| block(number, 3 * MIB)).collect();
    for (name, blocks) in [("small", &small), ("large", &large)] {
        let content = blocks.concat();
        let key = format!("v1-{name}");
        save_v1(&remotes, &key, blocks).await;
        assert_there(&remotes, &key, &content).await;
        let key = format!("v2-{name}");
        let mut order: Vec<_> = (0..blocks.len()).collect();
        save_v2(&remotes, &[&one, &other], &key, blocks, &order).await;
        assert_there(&remotes, &key, &content).await;
        order.reverse();
        let key = format!("v2-{name}-in-another-order");
        save_v2(&remotes, &[&one, &other], &key, blocks, &order).await;
        assert_there(&remotes, &key, &content).await;
    }
    let keys = remotes[1].list().await.unwrap();
    assert_eq!(keys.len(), 6);
    one.end();
    other.end();
    // Nothing is left on the disks that is not there again.
    let uploads = match team.buckets {
        Some(_) => team.data_dir("one"),
        None => team.data_dir("shared"),
    };
    assert_eq!(names(&uploads.join("uploads")), [""; 0]);
    let third = team.start("third");
    assert_there(&[remotes[0].at(&third)], "v1-large", &large.concat()).await;
    third.end();
}

#[tokio::test]
async fn any_replica_takes_any_call_on_s3() {
    any_replica_takes_any_call(Deployment::new(Buckets::s3())).await;
}

#[tokio::test]
async fn any_replica_takes_any_call_on_azure() {
    any_replica_takes_any_call(Deployment::new(Buckets::azure())).await;
}

#[tokio::test]
async fn any_replica_takes_any_call_on_a_stand_in_for_google() {
    any_replica_takes_any_call(Deployment::new(Buckets::gcs())).await;
}

#[tokio::test]
async fn any_replica_takes_any_call_in_a_directory() {
    any_replica_takes_any_call(Deployment::in_directory()).await;
}

/// What one collects at its start is not what others are receiving.
#[tokio::test]
async fn replicas_leave_uploads_of_others_in_their_directory_alone() {
    let team = Deployment::in_directory();
    let (one, other) = (team.start("one"), team.start("other"));
    let (first, second) = (team.client(&one), team.client(&other));
    let (lost, kept) = (first.reserve("lost"), second.reserve("kept"));
    let (lost, kept) = (lost.await.unwrap().json(), kept.await.unwrap().json());
    let id = |reserved: &serde_json::Value| reserved["cacheId"].as_i64().unwrap();
    assert_status(first.patch(id(&lost), 0, &block(1, 1000)).await, 204);
    assert_status(second.patch(id(&kept), 0, &block(2, 1000)).await, 204);
    drop(one);
    // As its lease would be, some time after it has run out.
    team.database
        .query("DELETE FROM reservations WHERE key = 'lost'");

    let third = team.start("third");
    let uploads = names(&team.data_dir("shared").join("uploads"));
    assert_eq!(uploads, [id(&kept).to_string()]);
    assert_status(second.patch(id(&kept), 1000, &block(3, 500)).await, 204);
    assert_status(second.commit(id(&kept), 1500).await, 204);
    let content = [block(2, 1000), block(3, 500)].concat();
    assert_there(&[second.at(&third), second], "kept", &content).await;
    other.end();
    third.end();
}

#[tokio::test]
async fn a_directory_of_replicas_is_theirs() {
    let team = Deployment::in_directory();
    let one = team.start("one");
    let store = ["--store", &team.store];
    let words = team.refusal(&store, None);
    assert!(words.contains("in use by another process"), "{words}");
    let url = team.database.url();
    let elsewhere = format!("file://{}", team.data_dir("elsewhere").display());
    let words = team.refusal(&["--database", &url, "--store", &elsewhere], None);
    assert!(
        words.contains("has the entries of other content"),
        "{words}"
    );
    one.end();
}

#[tokio::test]
async fn a_replica_that_is_killed_costs_what_it_was_receiving() {
    let team = Deployment::new(Buckets::s3());
    let (one, other) = (team.start("one"), team.start("other"));
    let (first, second) = (team.client(&one), team.client(&other));
    save_v1(std::slice::from_ref(&first), "whole", &[block(1, 20 * MIB)]).await;
    let id = first.reserve("half").await.unwrap().json()["cacheId"].as_i64();
    let id = id.unwrap();
    assert_status(first.patch(id, 0, &block(1, 20 * MIB)).await, 204);
    assert_status(second.patch(id, 20 * MIB, &block(2, MIB)).await, 204);
    drop(one);

    // It may come back, as far as anybody knows.
    assert_status(second.patch(id, 21 * MIB, &block(2, MIB)).await, 503);
    assert_status(second.reserve("half").await, 409);
    team.database
        .query("UPDATE instances SET expires_at = clock_timestamp() WHERE address LIKE '%'");
    assert_status(second.patch(id, 21 * MIB, &block(2, MIB)).await, 404);
    assert_status(second.commit(id, 21 * MIB).await, 404);
    assert_eq!(second.find("half").await.unwrap(), None);
    assert_there(std::slice::from_ref(&second), "whole", &block(1, 20 * MIB)).await;
    other.end();
    // What it had sent is removed by whoever collects next.
    let third = team.start("third");
    let remote = second.at(&third);
    save_v1(std::slice::from_ref(&remote), "half", &[block(3, 10)]).await;
    assert_there(&[remote], "half", &block(3, 10)).await;
    third.end();
}

#[tokio::test]
async fn a_replica_that_ends_finishes_its_uploads_and_takes_no_others() {
    let team = Deployment::new(Buckets::s3());
    let (one, other) = (team.start("one"), team.start("other"));
    let (first, second) = (team.client(&one), team.client(&other));
    let id = first.reserve("k").await.unwrap().json()["cacheId"].as_i64();
    let id = id.unwrap();
    let parts = [block(1, 9 * MIB), block(2, 9 * MIB)];
    assert_status(first.patch(id, 0, &parts[0]).await, 204);
    one.ask_to_end();
    // It has heard of it once it says so.
    loop {
        let health = first.get(&format!("{}/healthz", one.url)).await.unwrap();
        if health.status.as_u16() == 503 {
            assert!(health.text().contains("about to end"), "{}", health.text());
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_status(first.reserve("another").await, 503);
    assert_status(second.patch(id, 9 * MIB, &parts[1]).await, 204);
    assert_status(second.commit(id, 18 * MIB).await, 204);
    one.wait();
    assert_there(&[second], "k", &parts.concat()).await;
    other.end();
}

#[test]
fn a_store_that_cannot_be_used_ends_the_start() {
    let team = Deployment::new(Buckets::s3());
    let url = team.database.url();
    let words = team.refusal(&["--store", &team.store], None);
    assert!(words.contains("--store needs --database"), "{words}");
    let words = team.refusal(&["--database", &url, "--store", "/var/cache"], None);
    assert!(
        words.contains("it must be file:///DIRECTORY, s3://BUCKET/PREFIX"),
        "{words}"
    );
    let flags = ["--database", &url, "--store", "s3://nobodys/place"];
    let words = team.refusal(&flags, None);
    assert!(
        words.contains("the store s3://nobodys/place cannot be used"),
        "{words}"
    );
    assert!(words.contains("NoSuchBucket"), "{words}");
    let flags = ["--database", &url, "--store", &team.store];
    let words = team.refusal(&flags, Some(("AWS_SECRET_ACCESS_KEY", "wrong")));
    assert!(words.contains("SignatureDoesNotMatch"), "{words}");
}

#[test]
fn a_token_of_a_database_needs_a_service_that_was_there() {
    let database = Postgres::shared().database();
    let output = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
        .args(["token", "--scope", "main=rw", "--database", &database.url()])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("start the service first"), "{words}");
}
