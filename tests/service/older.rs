//! A data directory that an older version has written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use buildkit_gha::service::Config;
use reqwest::{Method, StatusCode};

use crate::{
    harness::{HOUR, MAIN, Server, VERSION, body},
    program::{audit, names},
};

/// The tables of the first version.
const FIRST: &str = "
CREATE TABLE entries (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          INTEGER NOT NULL UNIQUE,
    repository  TEXT NOT NULL,
    scope       TEXT NOT NULL,
    version     TEXT NOT NULL,
    key         TEXT NOT NULL,
    size        INTEGER NOT NULL,
    extents     TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    accessed_at INTEGER NOT NULL,
    UNIQUE (repository, scope, version, key)
) STRICT;
PRAGMA user_version = 1;";

/// What the second version had.
const SECOND: &str = "
CREATE TABLE entries (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          INTEGER NOT NULL UNIQUE,
    repository  TEXT NOT NULL,
    scope       TEXT NOT NULL,
    version     TEXT NOT NULL,
    key         TEXT NOT NULL,
    size        INTEGER NOT NULL,
    stored      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    accessed_at INTEGER NOT NULL,
    UNIQUE (repository, scope, version, key)
) STRICT;
CREATE TABLE contents (
    id      INTEGER PRIMARY KEY,
    extents BLOB NOT NULL
) STRICT;
CREATE TRIGGER content_of_entry AFTER DELETE ON entries BEGIN
    DELETE FROM contents WHERE id = OLD.id;
END;
PRAGMA user_version = 2;";

/// Makes a data directory of the second version with entries of these ids, scopes and keys, each a second after the one
/// before it. Answers where their contents are.
fn fill_second(data_dir: &Path, entries: &[(i64, &str, &str)]) -> PathBuf {
    let blobs = data_dir.join("blobs");
    fs::create_dir(&blobs).unwrap();
    let db = rusqlite::Connection::open(data_dir.join("entries.db")).unwrap();
    db.execute_batch(SECOND).unwrap();
    let insert = "INSERT INTO entries (id, repository, scope, version, key, size, stored, \
                  created_at, accessed_at) VALUES (?1, 'local/cache', ?2, ?3, ?4, 8, 8, ?5, ?5)";
    let extents: Vec<u8> = [0_u64, 8].into_iter().flat_map(u64::to_le_bytes).collect();
    for (id, scope, key) in entries {
        db.execute(insert, (id, scope, VERSION, key, id * 1_000))
            .unwrap();
        let insert = "INSERT INTO contents (id, extents) VALUES (?1, ?2)";
        db.execute(insert, (id, &extents)).unwrap();
        fs::write(blobs.join(id.to_string()), "contents").unwrap();
    }
    blobs
}

/// What it did not know is found out: how much its entries take, and which of them are the newest indexes.
#[tokio::test]
async fn entries_of_the_second_version_count_and_go_in_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let entries = [
        (1, MAIN, "index-app-1-f921bd05#1"),
        (2, MAIN, "index-app-1-f921bd05#2"),
        (3, MAIN, "layer"),
    ];
    fill_second(dir.path(), &entries);
    let mut config = Config::new(dir.path());
    config.budgets.all.bytes = Some(9);
    let server = Server::start_with(config).await;
    server.service.collect().await.unwrap();
    let client = server.main();
    assert_eq!(client.found_key("layer").await, None);
    let newest = client.found_key("index-app").await;
    assert_eq!(newest.as_deref(), Some("index-app-1-f921bd05#2"));
    server.stop().await;
    audit(dir.path());
}

/// Which of them are like others is found out, too.
#[tokio::test]
async fn entries_of_the_second_version_share_their_contents() {
    let dir = tempfile::tempdir().unwrap();
    let entries = [(1, MAIN, "k"), (2, "one", "k"), (3, "other", "k")];
    let blobs = fill_second(dir.path(), &entries);
    let server = Server::start(dir.path()).await;
    server.service.share_contents().await.unwrap();
    server.advance(2 * HOUR);
    server.service.collect().await.unwrap();
    assert_eq!(names(&blobs), ["1"]);
    server.stop().await;
    audit(dir.path());
}

#[tokio::test]
async fn entries_of_the_first_version_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = dir.path().join("blobs");
    fs::create_dir(&blobs).unwrap();
    let db = rusqlite::Connection::open(dir.path().join("entries.db")).unwrap();
    db.execute_batch(FIRST).unwrap();
    let insert = "INSERT INTO entries (id, repository, scope, version, key, size, extents, \
                  created_at, accessed_at) VALUES (?1, 'local/cache', ?2, ?3, ?4, ?5, ?6, ?7, ?7)";
    for (id, key, extents, created) in [
        (7, "index#1", "[[3,5],[0,3]]", 1_000),
        (8, "index#2", "[[0,8]]", 2_000),
        (9, "broken", "nonsense", 3_000),
    ] {
        db.execute(insert, (id, MAIN, VERSION, key, 8, extents, created))
            .unwrap();
        fs::write(blobs.join(id.to_string()), "abchello").unwrap();
    }
    drop(db);

    let server = Server::start(dir.path()).await;
    let client = server.main();
    let (key, url) = client.found("index#").await.unwrap();
    assert_eq!(key, "index#2", "the newest");
    assert_eq!(server.get(&url).await.text().await.unwrap(), "abchello");
    let (_, url) = client.found("index#1").await.unwrap();
    assert_eq!(server.get(&url).await.text().await.unwrap(), "helloabc");
    assert_eq!(client.found("broken").await, None);
    client.save("new", b"content").await;
    let listed = client.request(Method::GET, "/repos/local/cache/actions/caches?key=index");
    let listed = listed.send().await.unwrap();
    assert_eq!(listed.status(), StatusCode::OK);
    assert_eq!(body(listed).await["total_count"], 2);
    server.stop().await;
}
