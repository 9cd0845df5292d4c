//! Content that is gone or cut short while the service runs.

use std::{fs, path::Path};

use reqwest::{Method, StatusCode};

use crate::{
    harness::{Server, body},
    program::{Program, Remote, names},
};

/// Changes the one content file there is.
fn hurt(data_dir: &Path, how: impl Fn(&Path)) {
    let blobs = data_dir.join("blobs");
    let [file] = &names(&blobs)[..] else {
        panic!("one entry is stored")
    };
    how(&blobs.join(file));
}

fn cut(file: &Path) {
    fs::write(file, "cut").unwrap();
}

fn remove(file: &Path) {
    fs::remove_file(file).unwrap();
}

async fn save(remote: &Remote, key: &str, content: &[u8]) {
    let reserved = remote.reserve(key).await.unwrap();
    assert_eq!(reserved.status, StatusCode::CREATED, "{}", reserved.text());
    let id = reserved.json()["cacheId"].as_i64().unwrap();
    remote.patch(id, 0, content).await.unwrap();
    let committed = remote.commit(id, content.len()).await.unwrap();
    assert_eq!(committed.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_damaged_entry_is_a_miss_is_logged_and_can_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, log) = (dir.path().join("data"), dir.path().join("log"));
    let mut program = Program::start(&data_dir, &log);
    let remote = program.client(&data_dir);
    for (how, words) in [
        (cut as fn(&Path), "its content is shorter than recorded"),
        (remove, "its content is missing"),
    ] {
        save(&remote, "layer-7", b"content").await;
        let url = remote.find("layer-7").await.unwrap().unwrap();
        hurt(&data_dir, how);
        assert_eq!(remote.find("layer-7").await.unwrap(), None);
        let gone = remote.get(&url).await.unwrap();
        assert_eq!(gone.status, StatusCode::NOT_FOUND);
        let log = fs::read_to_string(&log).unwrap();
        let line = log.lines().find(|line| line.contains(words));
        let line = line.unwrap_or_else(|| panic!("{log}"));
        for part in ["WARN", "layer-7", "recorded=7", "local/cache"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    save(&remote, "layer-7", b"again").await;
    assert_eq!(remote.read("layer-7").await.unwrap().unwrap(), b"again");
    program.is_sound();
}

/// A URL that was signed before is no way round.
#[tokio::test]
async fn a_cut_file_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.main().save("k", b"content").await;
    let (_, url) = server.main().found("k").await.unwrap();
    hurt(dir.path(), cut);
    assert_eq!(server.get(&url).await.status(), StatusCode::NOT_FOUND);
    server.main().save("k", b"again").await;
}

#[tokio::test]
async fn an_older_entry_stands_behind_a_damaged_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.main().save("index#2", b"content").await;
    hurt(dir.path(), cut);
    let kept = names(&dir.path().join("blobs"));
    server.main().save("index#1", b"older").await;
    let found = server.main().found_key("index#2,index#").await;
    assert_eq!(found.as_deref(), Some("index#1"));
    assert!(!dir.path().join("blobs").join(&kept[0]).exists());
}

#[tokio::test]
async fn a_collection_drops_what_nobody_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.main().save("k", b"content").await;
    hurt(dir.path(), cut);
    server.service.collect().await.unwrap();
    let list = server
        .main()
        .request(Method::GET, "/repos/local/cache/actions/caches");
    let list = body(list.send().await.unwrap()).await;
    assert_eq!(list["total_count"], 0);
    assert!(names(&dir.path().join("blobs")).is_empty());
}
