//! Many clients, one key.

use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::{
    harness::{HOUR, Server, body},
    program::{Answer, Program, Remote, audit, names},
};

const CLIENTS: usize = 64;

/// How often a race is run.
const ROUNDS: usize = 10;

fn reserved(answer: &Answer) -> bool {
    match answer.status {
        StatusCode::CREATED => true,
        StatusCode::OK => answer.json()["ok"] == true,
        StatusCode::CONFLICT => false,
        other => panic!("{other}: {}", answer.text()),
    }
}

/// Half of the clients speak v1 and half v2, and all of them want to write something of their own.
/// The winner uploads while the others go on trying.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_clients_one_gets_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("cache");
    let mut program = Program::start(&data, &dir.path().join("log"));
    let remote = program.client(&data);
    for round in 0..ROUNDS {
        let key = format!("key-{round}");
        let saves = (0..CLIENTS).map(|client| save(&remote, &key, client));
        let winners: Vec<_> = join_all(saves).await.into_iter().flatten().collect();
        let [winner] = &winners[..] else {
            panic!("{} winners", winners.len());
        };
        assert_eq!(remote.read(&key).await.unwrap().as_ref(), Some(winner));
    }
    program.is_sound();
    drop(program);
    audit(&data);
}

/// Answers what was saved, if the key was this client's.
async fn save(remote: &Remote, key: &str, client: usize) -> Option<Vec<u8>> {
    let content = format!("of client {client}").into_bytes();
    for _ in 0..3 {
        let v1 = client.is_multiple_of(2);
        let answer = if v1 {
            remote.reserve(key).await.unwrap()
        } else {
            remote.create(key).await.unwrap()
        };
        if !reserved(&answer) {
            continue;
        }
        let (told, size) = (answer.json(), content.len());
        let committed = if v1 {
            let id = told["cacheId"].as_i64().unwrap();
            remote.patch(id, 0, &content).await.unwrap();
            remote.commit(id, size).await.unwrap()
        } else {
            let url = told["signed_upload_url"].as_str().unwrap();
            remote.put(url, "", content.clone()).await.unwrap();
            remote.finalize(key, size).await.unwrap()
        };
        assert!(committed.status.is_success(), "{}", committed.text());
        return Some(content);
    }
    None
}

/// A commit that is repeated because its answer was lost may overtake the first one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_repeated_at_once_succeeds_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    for round in 0..ROUNDS {
        let client = server.main();
        let key = format!("v2-{round}");
        let url = client.create(&key).await;
        server.put(&url, "", "content").await;
        let finals = join_all((0..CLIENTS).map(|_| client.finalize(&key, 7))).await;
        let mut ids = Vec::new();
        for answer in finals {
            assert_eq!(answer.status(), StatusCode::OK);
            ids.push(body(answer).await["entry_id"].clone());
        }
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");

        let id = client.reserved(&format!("v1-{round}")).await;
        client.patch(id, "bytes 0-6/*", "content").await;
        let commits = join_all((0..CLIENTS).map(|_| client.commit(id, 7))).await;
        assert_eq!(commits, [StatusCode::NO_CONTENT; CLIENTS]);
    }
}

/// The collector takes what is old, the owner of it commits it: one of them comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_committed_or_collected_but_not_both() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut won = [0, 0];
    for round in 0..ROUNDS {
        let client = server.main();
        let keys: Vec<_> = (0..CLIENTS).map(|n| format!("{round}-{n:02}")).collect();
        for key in &keys {
            let url = client.create(key).await;
            server.put(&url, "", "content").await;
        }
        server.advance(HOUR);
        let commits = join_all(keys.iter().map(|key| client.finalize(key, 7)));
        let (commits, ..) = tokio::join!(commits, server.service.collect(), async {
            server.service.collect().await.unwrap();
        });
        for (key, commit) in keys.iter().zip(commits) {
            let found = client.found(key).await;
            won[usize::from(found.is_some())] += 1;
            match commit.status() {
                StatusCode::OK => {
                    let (_, url) = found.unwrap();
                    assert_eq!(server.get(&url).await.text().await.unwrap(), "content");
                }
                StatusCode::NOT_FOUND => assert_eq!(found, None),
                other => panic!("{other}"),
            }
        }
    }
    println!("collected and committed: {won:?}");
    server.stop().await;
    audit(dir.path());
    assert_eq!(names(&dir.path().join("uploads")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_being_deleted_is_there_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.keeper();
    for _ in 0..ROUNDS {
        client.save("key", b"content").await;
        let (_, url) = client.found("key").await.unwrap();
        let path = "/repos/local/cache/actions/caches?key=key";
        let delete = client.request(reqwest::Method::DELETE, path).send();
        let reads = join_all((0..CLIENTS).map(|_| server.get(&url)));
        let (deleted, reads) = tokio::join!(delete, reads);
        assert_eq!(deleted.unwrap().status(), StatusCode::OK);
        for read in reads {
            match read.status() {
                StatusCode::OK => assert_eq!(read.text().await.unwrap(), "content"),
                other => assert_eq!(other, StatusCode::NOT_FOUND),
            }
        }
    }
}

/// Somebody clears the directory while the service runs.
#[tokio::test]
async fn an_entry_without_its_bytes_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    for key in ["seen", "unseen", "cut"] {
        client.save(key, b"content").await;
    }
    let (_, url) = client.found("seen").await.unwrap();
    for (n, file) in names(&dir.path().join("blobs")).iter().enumerate() {
        let path = dir.path().join("blobs").join(file);
        match n {
            0 => std::fs::write(path, "cut").unwrap(),
            _ => std::fs::remove_file(path).unwrap(),
        }
    }
    // The connection may break before the head of the answer has left.
    let whole = match server.plain(reqwest::Method::GET, &url).send().await {
        Ok(answer) if answer.status() != StatusCode::NOT_FOUND => answer.bytes().await.is_ok(),
        Ok(_) | Err(_) => false,
    };
    assert!(!whole);
    server.stop().await;
    let server = Server::start(dir.path()).await;
    for key in ["seen", "unseen", "cut"] {
        assert_eq!(server.main().found_key(key).await, None);
        server.main().save(key, b"again").await;
    }
    server.stop().await;
    audit(dir.path());
}
