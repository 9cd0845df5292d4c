//! A database that has committed, and whose answer is lost: nobody knows whether the entry is there.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use buildkit_gha::{
    lifecycle::Tasks,
    secret::Secret,
    service::{Config, config::DatabaseUrl},
};
use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use crate::{
    harness::Server,
    postgres::server::{Postgres, SOCKET},
};

/// Room for what one side says at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Passes on what both sides say, until a commit's answer is to be lost.
async fn connection(mut client: UnixStream, mut server: UnixStream, lose: Arc<AtomicBool>) {
    let (mut said, mut answered) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    loop {
        tokio::select! {
            read = client.read(&mut said) => {
                let Ok(len @ 1..) = read else { return };
                server.write_all(&said[..len]).await.unwrap();
                let commit = said[..len].windows(6).any(|bytes| bytes == b"COMMIT");
                if commit && lose.swap(false, Ordering::SeqCst) {
                    // It is done when the server answers.
                    assert!(server.read(&mut answered).await.unwrap() > 0);
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(len @ 1..) = read else { return };
                if client.write_all(&answered[..len]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Listens in `dir` for clients of the server at `socket`. Set to true, the next commit's answer is lost.
fn proxy(dir: &Path, socket: &Path) -> Arc<AtomicBool> {
    let listener = UnixListener::bind(dir.join(SOCKET)).unwrap();
    let (lose, socket) = (Arc::new(AtomicBool::new(false)), socket.to_owned());
    let losing = Arc::clone(&lose);
    let tasks = Tasks::default();
    let of = tasks.clone();
    tasks.spawn("proxy of a database", async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = UnixStream::connect(&socket).await.unwrap();
            of.spawn(
                "connection",
                connection(client, server, Arc::clone(&losing)),
            );
        }
    });
    lose
}

#[tokio::test]
async fn an_entry_whose_commit_was_not_answered_keeps_its_content() {
    let (dir, sockets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = Postgres::shared().database();
    let lose = proxy(sockets.path(), &database.socket());
    let url = Secret::new(database.url_in(sockets.path()));
    let server = Server::start_with(Config {
        database: Some(DatabaseUrl::parse(&url).unwrap()),
        ..Config::new(dir.path())
    })
    .await;
    let client = server.main();
    let id = client.reserved("key").await;
    client.patch(id, "bytes 0-6/*", "content").await;
    lose.store(true, Ordering::SeqCst);
    let commit = client.commit(id, 7).await;
    assert_eq!(commit, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!lose.load(Ordering::SeqCst), "no answer was lost");

    // It is there, so it is whole, and nothing can change it.
    let (_, url) = client.found("key").await.unwrap();
    assert_eq!(server.get(&url).await.text().await.unwrap(), "content");
    let late = client.patch(id, "bytes 0-6/*", "CONTENT").await;
    assert_eq!(late, StatusCode::CONFLICT);
    assert_eq!(client.commit(id, 6).await, StatusCode::BAD_REQUEST);
    assert_eq!(client.commit(id, 7).await, StatusCode::NO_CONTENT);
    assert_eq!(client.commit(id, 7).await, StatusCode::NO_CONTENT);
    assert_eq!(server.get(&url).await.text().await.unwrap(), "content");
    server.stop().await;
}

/// A client that does not ask again.
#[tokio::test]
async fn an_upload_whose_commit_was_not_answered_ends_some_day() {
    let (dir, sockets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = Postgres::shared().database();
    let lose = proxy(sockets.path(), &database.socket());
    let url = Secret::new(database.url_in(sockets.path()));
    let config = Config {
        database: Some(DatabaseUrl::parse(&url).unwrap()),
        ..Config::new(dir.path())
    };
    let age = config.reservation_age;
    let server = Server::start_with(config).await;
    let id = server.main().reserved("key").await;
    server.main().patch(id, "bytes 0-6/*", "content").await;
    lose.store(true, Ordering::SeqCst);
    let commit = server.main().commit(id, 7).await;
    assert_eq!(commit, StatusCode::SERVICE_UNAVAILABLE);
    server.advance(age * 2);
    server.service.collect().await.unwrap();
    let (_, url) = server.main().found("key").await.unwrap();
    assert_eq!(server.get(&url).await.text().await.unwrap(), "content");
    let late = server.main().patch(id, "bytes 0-6/*", "CONTENT").await;
    assert_eq!(late, StatusCode::NOT_FOUND);
    server.stop().await;
}
