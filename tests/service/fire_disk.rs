//! A disk that is full to its last block: writes are refused with a clear answer that no client
//! repeats, reads go on, and room can be made through the service itself.

use std::{fs, io::Write as _, path::PathBuf, process::Command};

use reqwest::{Method, StatusCode};

use crate::{
    harness::VERSION,
    program::{Answer, Program, Remote, audit, names},
};

const MIB: usize = 1 << 20;

/// A tmpfs that is unmounted when dropped.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new(size: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        let status = mount.arg(dir.path()).status().unwrap();
        assert!(status.success(), "this test mounts a tmpfs, as root");
        Self { dir }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Takes every block that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.dir.path().join("filler")).unwrap();
        while file.write(&[0; 4096]).is_ok() {}
        file.write_all(b"x").unwrap_err();
    }

    fn unfill(&self) {
        fs::remove_file(self.dir.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        let _ = umount.arg("--lazy").arg(self.dir.path()).status();
    }
}

/// A status that azcore, `@actions/cache` and go-actions-cache all give up at, with words for people.
fn is_full(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::INSUFFICIENT_STORAGE);
    let text = answer.text();
    assert!(text.contains("disk of the cache service is full"), "{text}");
}

async fn save(remote: &Remote, key: &str, content: &[u8]) {
    let created = remote.create(key).await.unwrap().json();
    let url = created["signed_upload_url"].as_str().unwrap();
    let put = remote.put(url, "", content.to_vec()).await.unwrap();
    assert_eq!(put.status, StatusCode::CREATED, "{}", put.text());
    let finalized = remote.finalize(key, content.len()).await.unwrap();
    assert_eq!(finalized.json()["ok"], true, "{}", finalized.text());
}

/// Everything that only reads.
async fn is_readable(remote: &Remote, key: &str, content: &[u8]) {
    assert_eq!(remote.list().await.unwrap(), [key]);
    let path = format!("/_apis/artifactcache/cache?keys={key}&version={VERSION}");
    let found = Remote::send(remote.request(Method::GET, &path)).await;
    assert_eq!(found.unwrap().status, StatusCode::OK);
    assert!(remote.read(key).await.unwrap().unwrap() == content);
    let health = Remote::send(remote.request(Method::GET, "/healthz")).await;
    assert_eq!(health.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn an_upload_that_does_not_fit_is_refused_and_given_up() {
    let disk = Disk::new(8 * MIB);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut program = Program::start(&disk.data(), log.path());
    let remote = program.client(&disk.data());
    let kept = vec![7; MIB];
    save(&remote, "kept", &kept).await;
    let large = vec![1; 8 * MIB];
    for _ in 0..2 {
        let created = remote.create("large").await.unwrap().json();
        let url = created["signed_upload_url"].as_str().unwrap();
        is_full(&remote.put(url, "", large.clone()).await.unwrap());
        // Its bytes are gone, and so is its reservation: it can be tried again at once.
        assert_eq!(names(&disk.data().join("uploads")), Vec::<String>::new());

        let created = remote.create("large").await.unwrap().json();
        let url = created["signed_upload_url"].as_str().unwrap();
        let block = |id| format!("&comp=block&blockid={id}");
        let half = remote.put(url, &block("AAAA"), vec![1; 4 * MIB]).await;
        assert_eq!(half.unwrap().status, StatusCode::CREATED);
        is_full(
            &remote
                .put(url, &block("AAAB"), vec![1; 4 * MIB])
                .await
                .unwrap(),
        );

        let reserved = remote.reserve("large").await.unwrap().json();
        let id = reserved["cacheId"].as_i64().unwrap();
        is_full(&remote.patch(id, 0, &large).await.unwrap());
        is_readable(&remote, "kept", &kept).await;
    }
    save(&remote, "large", &large[..4 * MIB]).await;
    program.is_sound();
    let said = fs::read_to_string(log.path()).unwrap();
    let warned = |line: &str| line.contains("WARN") && line.contains("is full");
    assert!(said.lines().any(warned), "{said}");
    drop(program);
    audit(&disk.data());
}

#[tokio::test]
async fn a_full_disk_can_be_read_from_restarted_on_and_freed() {
    let disk = Disk::new(8 * MIB);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut program = Program::start(&disk.data(), log.path());
    let mut remote = program.client(&disk.data());
    let kept = vec![7; MIB];
    save(&remote, "kept", &kept).await;
    disk.fill();
    for round in 0..3 {
        is_readable(&remote, "kept", &kept).await;
        let reserved = remote.reserve(&format!("v1-{round}")).await.unwrap();
        if reserved.status.is_success() {
            let id = reserved.json()["cacheId"].as_i64().unwrap();
            is_full(&remote.patch(id, 0, b"content").await.unwrap());
        } else {
            is_full(&reserved);
        }
        program.is_sound();
        drop(program);
        program = Program::start(&disk.data(), log.path());
        remote = remote.at(&program);
    }
    let path = "/repos/local/cache/actions/caches?key=kept";
    let deleted = Remote::send(remote.request(Method::DELETE, path)).await;
    assert_eq!(deleted.unwrap().status, StatusCode::OK);
    save(&remote, "new", &kept[..MIB / 2]).await;
    is_readable(&remote, "new", &kept[..MIB / 2]).await;
    program.is_sound();
    drop(program);
    audit(&disk.data());
}

/// What an operator does then: a budget, and a restart.
#[tokio::test]
async fn a_full_disk_is_freed_by_a_budget() {
    let disk = Disk::new(8 * MIB);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut program = Program::start(&disk.data(), log.path());
    let mut remote = program.client(&disk.data());
    for key in ["first", "second", "third", "fourth"] {
        save(&remote, key, &vec![7; MIB]).await;
    }
    disk.fill();
    let found = remote.read("first").await.unwrap();
    assert!(found.is_some());
    drop(program);
    program = Program::start_with(&disk.data(), log.path(), &["--max-size", "3MB"]);
    remote = remote.at(&program);
    // It has collected, or is about to: its room is there once an upload fits.
    let mut answers = 0;
    loop {
        let created = remote.create("new").await.unwrap();
        if created.status.is_success() {
            let url = created.json()["signed_upload_url"]
                .as_str()
                .unwrap()
                .to_owned();
            let put = remote.put(&url, "", vec![7; MIB]).await.unwrap();
            if put.status == StatusCode::CREATED {
                break;
            }
            is_full(&put);
        }
        answers += 1;
        assert!(answers < 1_000, "nothing was evicted");
    }
    let finalized = remote.finalize("new", MIB).await.unwrap();
    assert_eq!(finalized.json()["ok"], true, "{}", finalized.text());
    program.is_sound();
    drop(program);
    audit(&disk.data());
}

/// The bytes fit and the row does not. How many rows fit is up to SQLite.
#[tokio::test]
async fn a_commit_that_does_not_fit_leaves_nothing() {
    let disk = Disk::new(8 * MIB);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut program = Program::start(&disk.data(), log.path());
    let remote = program.client(&disk.data());
    let keys: Vec<_> = (0..200).map(|n| format!("key-{n:03}")).collect();
    for key in &keys {
        let created = remote.create(key).await.unwrap().json();
        let url = created["signed_upload_url"].as_str().unwrap();
        remote.put(url, "", b"content".to_vec()).await.unwrap();
    }
    disk.fill();
    let mut refused = Vec::new();
    for key in &keys {
        let answer = remote.finalize(key, 7).await.unwrap();
        let found = remote.read(key).await.unwrap();
        if answer.status == StatusCode::OK {
            assert_eq!(found.unwrap(), b"content");
        } else {
            is_full(&answer);
            assert_eq!(found, None);
            refused.push(key);
        }
    }
    assert!(!refused.is_empty(), "the disk was not full");
    disk.unfill();
    for key in refused {
        save(&remote, key, b"later").await;
    }
    program.is_sound();
    drop(program);
    audit(&disk.data());
}
