//! A service whose entries are in PostgreSQL, on a real server.

#[path = "../postgres/mod.rs"]
pub mod server;

use std::{net::TcpListener, path::Path, process::Command, time::Duration};

use buildkit_gha::{
    secret::Secret,
    service::{Config, OpenError, Service, config::DatabaseUrl, system_clock},
};
use reqwest::{Method, Response, StatusCode};

use self::server::{Database, Postgres};
use crate::{
    harness::{Server, body},
    program::{Program, names},
    tokens::{a_revoked_token_is_refused, token},
};

pub fn config(data_dir: &Path, database: &Database<'_>) -> Config {
    let url = DatabaseUrl::parse(&Secret::new(database.url()));
    Config {
        database: Some(url.unwrap()),
        ..Config::new(data_dir)
    }
}

async fn start(data_dir: &Path, database: &Database<'_>) -> Server {
    Server::start_with(config(data_dir, database)).await
}

async fn read(server: &Server, key: &str) -> Option<Vec<u8>> {
    let (_, url) = server.main().found(key).await?;
    let content = server.get(&url).await.bytes().await;
    Some(content.unwrap().to_vec())
}

#[tokio::test]
async fn entries_above_their_budget_are_evicted() {
    let (dir, database) = (tempfile::tempdir().unwrap(), Postgres::shared().database());
    let mut config = config(dir.path(), &database);
    config.budgets.repository.entries = Some(3);
    let server = Server::start_with(config).await;
    for number in 0..12 {
        server.main().found("k00").await;
        server.advance(Duration::from_secs(1));
        server.main().save(&format!("k{number:02}"), b"x").await;
        server.advance(Duration::from_secs(1));
    }
    server.service.collect().await.unwrap();
    let left = "SELECT string_agg(key, ' ' ORDER BY key) FROM entries";
    assert_eq!(database.query(left), "k00 k11");
    let noted = "SELECT bytes || ' ' || entries FROM repository_usage";
    assert_eq!(database.query(noted), "2 2");
    server.stop().await;
    assert_eq!(names(&dir.path().join("blobs")).len(), 2);
}

#[tokio::test]
async fn entries_are_saved_found_deleted_and_there_after_a_restart() {
    let (dir, database) = (tempfile::tempdir().unwrap(), Postgres::shared().database());
    let server = start(dir.path(), &database).await;
    server.main().save("index#1", b"one").await;
    server.main().save("index#2", b"two").await;
    server.main().save("other", b"three").await;
    assert_eq!(read(&server, "index#1").await.unwrap(), b"one");
    let newest = server.main().found_key("index").await;
    assert_eq!(newest.as_deref(), Some("index#2"));
    let again = server.main().reserve("other").await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let path = "/repos/local/cache/actions/caches?key=index%232";
    let deleted = server.keeper().request(Method::DELETE, path).send().await;
    assert_eq!(deleted.unwrap().status(), StatusCode::OK);
    server.main().reserved("unfinished").await;
    server.stop().await;

    let server = start(dir.path(), &database).await;
    let newest = server.main().found_key("index").await;
    assert_eq!(newest.as_deref(), Some("index#1"));
    assert_eq!(read(&server, "other").await.unwrap(), b"three");
    server.main().save("unfinished", b"free again").await;
    assert!(!names(dir.path()).contains(&"entries.db".to_owned()));
    server.stop().await;
}

/// An answer that says when to come again.
async fn assert_unavailable(response: Response) {
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "5");
    let words = response.text().await.unwrap();
    assert!(words.contains("cannot reach its database"), "{words}");
    assert!(!words.contains("PostgreSQL"), "{words}");
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let postgres = Postgres::start();
    let database = postgres.database();
    let server = start(dir.path(), &database).await;
    server.main().save("before", b"before").await;
    let id = server.main().reserved("during").await;
    let (_, url) = server.main().found("before").await.unwrap();
    let patched = server.main().patch(id, "bytes 0-5/*", *b"during").await;
    assert_eq!(patched, StatusCode::NO_CONTENT);

    postgres.stop();
    assert_unavailable(server.main().lookup("before").await).await;
    assert_unavailable(server.main().reserve("another").await).await;
    let commit = server.main().finalize("during", 6).await;
    assert_unavailable(commit).await;
    let commit = server.main().commit(id, 6).await;
    assert_eq!(commit, StatusCode::SERVICE_UNAVAILABLE);
    let download = server.get(&url).await;
    assert_unavailable(download).await;
    let health = server.get(&format!("{}/healthz", server.url)).await;
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);

    postgres.restart();
    let health = server.get(&format!("{}/healthz", server.url)).await;
    assert_eq!(health.status(), StatusCode::OK);
    assert_eq!(server.main().commit(id, 6).await, StatusCode::NO_CONTENT);
    assert_eq!(read(&server, "before").await.unwrap(), b"before");
    assert_eq!(read(&server, "during").await.unwrap(), b"during");
    server.stop().await;
}

#[tokio::test]
async fn content_and_entries_that_do_not_belong_together_are_left_alone() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = Postgres::shared().database();
    let server = start(first.path(), &database).await;
    server.main().save("k", b"content").await;
    server.stop().await;

    let other = Service::open(config(second.path(), &database), system_clock()).await;
    assert!(matches!(other, Err(OpenError::OtherContent { .. })));
    let without = Service::open(Config::new(first.path()), system_clock()).await;
    let error = without.err().unwrap().to_string();
    assert!(error.contains("its entries are in PostgreSQL"), "{error}");

    let third = tempfile::tempdir().unwrap();
    Server::start(third.path()).await.stop().await;
    let database = Postgres::shared().database();
    let with = Service::open(config(third.path(), &database), system_clock()).await;
    let error = with.err().unwrap().to_string();
    assert!(error.contains("its entries are in SQLite"), "{error}");

    let server = start(first.path(), &Postgres::shared().database()).await;
    assert!(
        read(&server, "k").await.is_none(),
        "a new database is empty"
    );
    server.stop().await;
}

#[tokio::test]
async fn two_processes_one_after_the_other_are_one_cache() {
    let (dir, database) = (tempfile::tempdir().unwrap(), Postgres::shared().database());
    let log = dir.path().join("log");
    let data_dir = dir.path().join("data");
    let flags = ["--database", &database.url()];
    let program = Program::start_with(&data_dir, &log, &flags);
    let remote = program.client_of_database(&database.url());
    let reserved = remote.reserve("k").await.unwrap().json();
    let id = reserved["cacheId"].as_i64().unwrap();
    remote.patch(id, 0, b"content").await.unwrap();
    remote.commit(id, 7).await.unwrap();
    remote.reserve("unfinished").await.unwrap();
    program.end();

    let program = Program::start_with(&data_dir, &log, &flags);
    let remote = remote.at(&program);
    assert_eq!(remote.read("k").await.unwrap().unwrap(), b"content");
    let reserved = remote.reserve("unfinished").await.unwrap();
    assert_eq!(reserved.status, StatusCode::CREATED, "the first has ended");
    program.end();
}

/// What `serve` says of a database that it cannot use.
fn refusal(url: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path())
        .env("BUILDKIT_GHA_DATABASE", url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(!words.contains("hunter2"), "{words}");
    words
}

#[test]
fn a_database_that_cannot_be_used_ends_the_start() {
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let words = refusal(&format!("postgres://me:hunter2@{address}/cache"));
    assert!(words.contains(&format!("{address}/cache")), "{words}");
    assert!(words.contains("refused"), "{words}");
    let words = refusal("postgres://me:hunter2@db.example/cache?sslmode=some");
    assert!(words.contains("--database: sslmode must be"), "{words}");
    let words = refusal("mysql://me:hunter2@db.example/cache");
    assert!(words.contains("must begin with postgres://"), "{words}");
}

#[tokio::test]
async fn a_listing_shows_what_was_found_last() {
    let (dir, database) = (tempfile::tempdir().unwrap(), Postgres::shared().database());
    let server = start(dir.path(), &database).await;
    for key in ["a", "b"] {
        server.main().save(key, b"x").await;
    }
    server.advance(crate::harness::HOUR);
    server.main().found_key("a").await.unwrap();
    let path = "/repos/local/cache/actions/caches?sort=last_accessed_at&direction=desc";
    let list = server.main().request(Method::GET, path).send().await;
    let list = body(list.unwrap()).await;
    assert_eq!(list["total_count"], 2);
    assert_eq!(list["actions_caches"][0]["key"], "a");
    server.stop().await;
}

/// The command tells the database, and each replica asks that.
#[tokio::test]
async fn replicas_refuse_what_the_command_revokes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = Postgres::shared().database();
    let url = database.url();
    let place = ["--database", url.as_str()];
    let early = token(&place, &["--scope", "main=rw"]);
    assert_eq!(
        early.status.code(),
        Some(1),
        "no service has made tables yet"
    );
    let one = start(first.path(), &database).await;
    // A directory of the same content; nobody looks at any here.
    let name = "content-name";
    std::fs::copy(first.path().join(name), second.path().join(name)).unwrap();
    let other = start(second.path(), &database).await;
    a_revoked_token_is_refused(&place, &[&one, &other]).await;
    other.stop().await;
    one.stop().await;
}
