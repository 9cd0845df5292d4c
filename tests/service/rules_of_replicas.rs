//! The rules of the cache, with many clients on two replicas at once.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    harness::VERSION,
    postgres::server::Database,
    program::{Answer, Program, Remote},
    replicas::{Deployment, buckets::Buckets},
};

const CLIENTS: usize = 64;
const KEYS: usize = 20;

/// How many indexes each client commits.
const INDEXES: usize = 4;

/// Two replicas, and the clients: half of them are at each.
struct Replicas {
    programs: [Program; 2],
    remotes: [Remote; 2],
}

impl Replicas {
    fn start(team: &Deployment) -> Self {
        let programs = [team.start("one"), team.start("other")];
        let remotes = programs.each_ref().map(|program| team.client(program));
        Self { programs, remotes }
    }

    fn of(&self, client: usize) -> &Remote {
        &self.remotes[client % 2]
    }

    fn end(mut self) {
        self.programs.iter_mut().for_each(Program::is_sound);
        self.programs.into_iter().for_each(Program::end);
    }
}

/// The id of the upload, where the key was given to this client.
fn reserved(answer: &Answer) -> Option<i64> {
    match answer.status {
        StatusCode::CREATED => answer.json()["cacheId"].as_i64(),
        StatusCode::CONFLICT => None,
        other => panic!("{other}: {}", answer.text()),
    }
}

async fn save(remote: &Remote, key: &str, content: &[u8]) {
    let id = reserved(&remote.reserve(key).await.unwrap()).unwrap();
    finish(remote, id, content).await;
}

async fn finish(remote: &Remote, id: i64, content: &[u8]) {
    let patched = remote.patch(id, 0, content).await.unwrap();
    assert_eq!(patched.status, StatusCode::NO_CONTENT);
    let committed = remote.commit(id, content.len()).await.unwrap();
    assert_eq!(committed.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_clients_on_two_replicas_one_gets_each_key() {
    let team = Deployment::new(Buckets::s3());
    let replicas = Replicas::start(&team);
    let clients = (0..CLIENTS).map(async |client| {
        let remote = replicas.of(client);
        let mut won = Vec::new();
        for key in 0..KEYS {
            let answer = remote.reserve(&format!("key-{key}")).await.unwrap();
            let Some(id) = reserved(&answer) else {
                continue;
            };
            // The upload goes to whichever replica the next call reaches.
            finish(replicas.of(client + key), id, client.to_string().as_bytes()).await;
            won.push((key, client));
        }
        won
    });
    let won = join_all(clients).await.concat();
    let winners: HashMap<_, _> = won.iter().copied().collect();
    assert_eq!((won.len(), winners.len()), (KEYS, KEYS), "{won:?}");
    for (key, client) in winners {
        for remote in &replicas.remotes {
            let found = remote.read(&format!("key-{key}")).await.unwrap();
            assert_eq!(found.unwrap(), client.to_string().into_bytes());
        }
    }
    replicas.end();
}

/// The newest key that begins with `index#`.
async fn newest(remote: &Remote) -> Option<String> {
    let request = remote.request(
        Method::POST,
        "/twirp/github.actions.results.api.v1.CacheService/GetCacheEntryDownloadURL",
    );
    let message = json!({"key": "index", "restore_keys": ["index#"], "version": VERSION});
    let found = Remote::send(request.json(&message)).await.unwrap().json();
    let key = found["matched_key"].as_str().map(str::to_owned);
    key.filter(|key| !key.is_empty())
}

/// In which order the keys were committed.
fn order(database: &Database<'_>) -> HashMap<String, usize> {
    let keys = database.query("SELECT key FROM entries ORDER BY seq");
    let keys = keys.lines().map(str::to_owned);
    keys.enumerate().map(|(at, key)| (key, at)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_by_prefix_never_goes_back_on_two_replicas() {
    let team = Deployment::new(Buckets::s3());
    let replicas = Replicas::start(&team);
    let numbers = AtomicUsize::new(0);
    let clients = (0..CLIENTS).map(async |client| {
        // What it has committed and seen, in this order.
        let mut seen = Vec::new();
        for turn in 0..INDEXES {
            let number = numbers.fetch_add(1, Ordering::SeqCst);
            let key = format!("index#{number}");
            save(replicas.of(client + turn), &key, b"index").await;
            let committed = key;
            for at in 0..2 {
                let found = newest(replicas.of(client + at)).await.unwrap();
                seen.push((committed.clone(), found));
            }
        }
        seen
    });
    let all = join_all(clients).await;
    let order = order(&team.database);
    assert_eq!(order.len(), CLIENTS * INDEXES);
    for seen in all {
        let mut last = 0;
        for (committed, found) in seen {
            assert!(
                order[&found] >= order[&committed],
                "{found} after {committed}"
            );
            assert!(order[&found] >= last, "{found} is older than what was seen");
            last = order[&found];
        }
    }
    replicas.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_entry_stays_deleted_on_two_replicas() {
    let team = Deployment::new(Buckets::s3());
    let replicas = Replicas::start(&team);
    for round in 0..KEYS {
        let (deleter, other) = (replicas.of(round), replicas.of(round + 1));
        let key = format!("key-{round}");
        save(deleter, &key, b"old").await;
        let url = other.find(&key).await.unwrap().unwrap();
        let path = format!("/repos/local/cache/actions/caches?key={key}");
        let delete = async {
            let answer = Remote::send(deleter.request(Method::DELETE, &path)).await;
            assert_eq!(answer.unwrap().status, StatusCode::OK);
            // Whoever asks now, and wherever.
            for remote in &replicas.remotes {
                assert_eq!(remote.find(&key).await.unwrap(), None);
            }
        };
        let reads = (0..CLIENTS / 8).map(async |_| {
            let read = other.get(&url).await.unwrap();
            match read.status {
                StatusCode::OK => assert_eq!(read.body, b"old"),
                status => assert_eq!(status, StatusCode::NOT_FOUND),
            }
        });
        tokio::join!(delete, join_all(reads));
        assert_eq!(other.get(&url).await.unwrap().status, StatusCode::NOT_FOUND);
        save(other, &key, b"new").await;
        for remote in &replicas.remotes {
            assert_eq!(remote.read(&key).await.unwrap().unwrap(), b"new");
        }
        assert_eq!(
            deleter.get(&url).await.unwrap().status,
            StatusCode::NOT_FOUND
        );
    }
    replicas.end();
}
