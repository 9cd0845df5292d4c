//! `serve migrate` between stores of this machine.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use buildkit_gha::{
    protocol::scope::Permission,
    service::{
        Config, Migration, MigrationError, MigrationReport, OnProgress, Side, config::StoreUrl,
    },
};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::{
    harness::{HOUR, MAIN, Server},
    program::audit,
    tokens::{list, place, said},
};

/// Sizes of contents: one part of a transfer and a little more, less, and hardly anything.
const SIZES: [usize; 5] = [1, 9 << 20, 300_000, 8 << 20, 2];

/// A directory of a test with places in it.
struct Places(TempDir);

impl Places {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn side(&self, name: &str) -> Side {
        Side {
            data_dir: Some(self.path(name)),
            ..Side::default()
        }
    }

    /// A side whose content is in a directory of its own.
    fn side_with_store(&self, name: &str, store: &str) -> Side {
        let store = format!("file://{}", self.path(store).display());
        Side {
            store: Some(StoreUrl::parse(&store).unwrap()),
            ..self.side(name)
        }
    }
}

fn content(number: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| u8::try_from((number + at / 1000) % 251).unwrap();
    (0..len).map(byte).collect()
}

/// Fills a data directory. Answers a token of it.
async fn fill(data_dir: &Path) -> String {
    let server = Server::start(data_dir).await;
    for (number, len) in SIZES.into_iter().enumerate() {
        let key = format!("k#{number}");
        server.main().save(&key, &content(number, len)).await;
        // All but the last two have a time of their own.
        if number < 3 {
            server.advance(HOUR / 60);
        }
    }
    server.main().found_key("k#1").await.unwrap();
    let token = server.token(&[(MAIN, Permission::READ)]);
    server.stop().await;
    token
}

/// All that is known of each entry but where its bytes lie, in the order of commits.
fn rows(data_dir: &Path) -> Vec<String> {
    let db = rusqlite::Connection::open(data_dir.join("entries.db")).unwrap();
    let sql = "SELECT concat_ws('|', id, repository, scope, version, key, size, created_at, accessed_at) \
               FROM entries ORDER BY seq";
    let mut rows = db.prepare(sql).unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn silent() -> OnProgress {
    Arc::new(|_| {})
}

async fn migrate(from: &Side, to: &Side) -> Result<MigrationReport, MigrationError> {
    let migration = Migration::open(from, to, true).await?;
    let report = migration.run(silent()).await;
    migration.close().await?;
    report
}

async fn assert_whole(config: Config, token: String) {
    let server = Server::start_with(config).await;
    // After the token was made.
    server.advance(HOUR);
    let client = server.client(token);
    let newest = client.found_key("k").await;
    assert_eq!(newest.as_deref(), Some("k#4"), "of two with one time");
    for (number, len) in SIZES.into_iter().enumerate() {
        let (_, url) = client.found(&format!("k#{number}")).await.unwrap();
        let read = server.get(&url).await.bytes().await.unwrap();
        assert!(read == content(number, len), "k#{number}");
    }
    server.stop().await;
}

#[tokio::test]
async fn all_is_the_same_on_the_other_side_and_back() {
    let places = Places::new();
    let token = fill(&places.path("first")).await;
    let before = rows(&places.path("first"));
    let (first, second) = (
        places.side("first"),
        places.side_with_store("second", "content"),
    );
    let report = migrate(&first, &second).await.unwrap();
    assert_eq!(report.copied.entries, SIZES.len() as u64);
    assert_eq!(report.copied.bytes, SIZES.iter().sum::<usize>() as u64);
    assert_eq!(rows(&places.path("second")), before);
    assert_eq!(rows(&places.path("first")), before);

    let third = places.side("third");
    migrate(&second, &third).await.unwrap();
    assert_eq!(rows(&places.path("third")), before);
    audit(&places.path("third"));
    let again = migrate(&second, &third).await.unwrap();
    assert_eq!(again.copied.entries, 0);
    assert_eq!(again.already_there.entries, SIZES.len() as u64);

    let store = second.store;
    let config = Config {
        store,
        ..Config::new(places.path("second"))
    };
    assert_whole(config, token.clone()).await;
    assert_whole(Config::new(places.path("third")), token).await;
}

/// With the secret, tokens of the source are good at the target.
#[tokio::test]
async fn a_token_that_was_revoked_stays_so() {
    let places = Places::new();
    let (from, to) = (places.path("from"), places.path("to"));
    Server::start(&from).await.stop().await;
    said(&place(&from), &["--scope", "main=r", "--name", "ci"]);
    let sides = (places.side("from"), places.side("to"));
    migrate(&sides.0, &sides.1).await.unwrap();
    assert_eq!(list(&place(&to))[0]["state"], "good");
    said(&place(&from), &["revoke", "ci"]);
    migrate(&sides.0, &sides.1).await.unwrap();
    assert_eq!(list(&place(&to))[0]["state"], "revoked");
}

#[tokio::test]
async fn what_was_interrupted_goes_on() {
    let places = Places::new();
    let token = fill(&places.path("source")).await;
    let (from, to) = (places.side("source"), places.side("target"));
    // At each moment at which an entry, or a part of one, has come.
    for stop_at in 0..=SIZES.len() as u64 {
        let migration = Migration::open(&from, &to, true).await.unwrap();
        let enough = Arc::new(Notify::new());
        let on_progress: OnProgress = {
            let enough = Arc::clone(&enough);
            Arc::new(move |progress| {
                if progress.done.entries >= stop_at {
                    enough.notify_one();
                }
            })
        };
        tokio::select! {
            biased;
            () = enough.notified() => {}
            moved = migration.run(on_progress) => drop(moved.unwrap()),
        }
        drop(migration);
    }
    let report = migrate(&from, &to).await.unwrap();
    assert!(report.already_there.entries >= 3, "{report:?}");
    assert_eq!(report.moved().entries, SIZES.len() as u64);
    assert_eq!(rows(&places.path("target")), rows(&places.path("source")));
    audit(&places.path("target"));
    assert_whole(Config::new(places.path("target")), token).await;
}

#[tokio::test]
async fn what_must_not_be_moved_is_refused() {
    let places = Places::new();
    fill(&places.path("source")).await;
    let source = places.side("source");
    let refused = async |from: &Side, to: &Side| migrate(from, to).await.unwrap_err().to_string();

    let server = Server::start(&places.path("source")).await;
    let words = refused(&source, &places.side("new")).await;
    assert!(words.contains("the source cannot be opened"), "{words}");
    assert!(words.contains("in use by another process"), "{words}");
    server.stop().await;

    let server = Server::start(&places.path("foreign")).await;
    let words = refused(&source, &places.side("foreign")).await;
    assert!(words.contains("the target cannot be opened"), "{words}");
    server.stop().await;
    let words = refused(&source, &places.side("foreign")).await;
    assert!(words.contains("a secret of its own"), "{words}");

    let words = refused(&source, &source).await;
    assert!(words.contains("the same data directory"), "{words}");
    let words = refused(&places.side("nowhere"), &places.side("new")).await;
    assert!(words.contains("is no directory"), "{words}");
    assert!(!places.path("nowhere").exists());
    assert!(!places.path("new").exists(), "nothing was made");

    let target = places.side_with_store("target", "strange");
    std::fs::create_dir_all(places.path("strange/blobs")).unwrap();
    std::fs::write(places.path("strange/blobs/7"), "somebody's").unwrap();
    let words = refused(&source, &target).await;
    assert!(words.contains("has entries or content already"), "{words}");
    assert!(places.path("strange/blobs/7").exists());
}

/// As a service would drop it.
#[tokio::test]
async fn an_entry_without_its_content_is_left_out() {
    let places = Places::new();
    fill(&places.path("source")).await;
    let before = rows(&places.path("source"));
    let id = before[1].split('|').next().unwrap();
    let blob = places.path("source").join("blobs").join(id);
    let file = std::fs::File::options().write(true).open(blob).unwrap();
    file.set_len(1000).unwrap();
    let report = migrate(&places.side("source"), &places.side("target"))
        .await
        .unwrap();
    assert_eq!(
        (report.left_out.entries, report.left_out.bytes),
        (1, SIZES[1] as u64)
    );
    let mut expected = before.clone();
    expected.remove(1);
    assert_eq!(rows(&places.path("target")), expected);
    assert_eq!(rows(&places.path("source")), before);
}
