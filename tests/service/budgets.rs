//! Entries go when there are too many: which, in whose place, and what clients see of it.

use std::{path::Path, time::Duration};

use buildkit_gha::{
    protocol::scope::Permission,
    service::{
        Config, DEFAULT_REPOSITORY,
        config::{Budgets, Limit},
    },
    units::percent,
};
use futures_util::future::join_all;
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::{
    harness::{Caller, HOUR, MAIN, Server, VERSION, body},
    program::{audit, names},
};

const DAY: Duration = Duration::from_hours(24);

/// The bytes of an entry of these tests.
const CONTENT: &[u8] = &[7; 100];

fn bytes(limit: u64) -> Limit {
    Limit {
        bytes: Some(limit),
        entries: None,
    }
}

fn entries(limit: u64) -> Limit {
    Limit {
        bytes: None,
        entries: Some(limit),
    }
}

async fn start(data_dir: &Path, budgets: Budgets) -> Server {
    let config = Config {
        budgets,
        ..Config::new(data_dir)
    };
    Server::start_with(config).await
}

impl Server {
    /// A client of another repository.
    fn of(&self, repository: &str) -> Caller<'_> {
        self.client(self.token_of(repository, &[(MAIN, Permission::READ_WRITE)]))
    }

    /// Saves entries, a second after one another.
    async fn save_each(&self, repository: &str, keys: &[&str]) {
        for key in keys {
            self.of(repository).save(key, CONTENT).await;
            self.advance(Duration::from_secs(1));
        }
    }

    /// The keys that are left in a repository, in the order of their commits.
    async fn keys(&self, repository: &str) -> Vec<String> {
        // What was woken is done after this.
        self.service.collect().await.unwrap();
        let path = format!(
            "/repos/{repository}/actions/caches?sort=created_at&direction=asc&per_page=100"
        );
        let listed = self.of(repository).request(Method::GET, &path).send().await;
        let listed = body(listed.unwrap()).await;
        let keys = listed["actions_caches"].as_array().unwrap().iter();
        keys.map(|entry| entry["key"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test]
async fn who_was_found_least_recently_goes_first_and_down_to_the_low_water_mark() {
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets {
        all: bytes(500),
        low_water: percent::parse("60%").unwrap(),
        ..Budgets::default()
    };
    let server = start(dir.path(), budgets).await;
    server
        .save_each(DEFAULT_REPOSITORY, &["a", "b", "c", "d", "e"])
        .await;
    assert_eq!(server.keys(DEFAULT_REPOSITORY).await.len(), 5, "all fit");
    server.main().found("a").await.unwrap();
    server.advance(Duration::from_secs(1));
    server.save_each(DEFAULT_REPOSITORY, &["f"]).await;
    assert_eq!(server.keys(DEFAULT_REPOSITORY).await, ["a", "e", "f"]);
    let evicted = "buildkit_gha_service_evicted_bytes_total{cause=\"size\"}";
    assert_eq!(server.metric(evicted).await, 300);
    assert_eq!(
        server.metric("buildkit_gha_service_stored_bytes ").await,
        300
    );
    server.stop().await;
    audit(dir.path());
}

#[tokio::test]
async fn a_repository_pays_for_itself_and_all_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets {
        repository: entries(3),
        all: entries(5),
        ..Budgets::default()
    };
    let server = start(dir.path(), budgets).await;
    server.save_each("o/old", &["a", "b"]).await;
    server.save_each("o/new", &["a", "b", "c"]).await;
    assert_eq!(server.keys("o/new").await, ["a", "b", "c"]);
    server.save_each("o/new", &["d"]).await;
    assert_eq!(server.keys("o/old").await, ["a", "b"]);
    assert_eq!(server.keys("o/new").await, ["c", "d"]);
    server.save_each("o/third", &["a", "b"]).await;
    assert_eq!(server.keys("o/old").await, Vec::<String>::new());
    assert_eq!(server.keys("o/new").await, ["c", "d"]);
    assert_eq!(server.keys("o/third").await, ["a", "b"]);
    let evicted = "buildkit_gha_service_evicted_entries_total{cause=\"entries\"}";
    assert_eq!(server.metric(evicted).await, 4);
}

#[tokio::test]
async fn what_nobody_finds_goes_at_its_age() {
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets {
        max_age: Some(7 * DAY),
        ..Budgets::default()
    };
    let server = start(dir.path(), budgets).await;
    let index = "index-app-1-f921bd05#1";
    server
        .save_each(DEFAULT_REPOSITORY, &["used", "unused", index])
        .await;
    server.advance(6 * DAY);
    server.main().found("used").await.unwrap();
    server.advance(23 * HOUR);
    assert_eq!(server.keys(DEFAULT_REPOSITORY).await.len(), 3);
    server.advance(HOUR);
    assert_eq!(server.keys(DEFAULT_REPOSITORY).await, ["used"]);
    let evicted = "buildkit_gha_service_evicted_entries_total{cause=\"age\"}";
    assert_eq!(server.metric(evicted).await, 2);
}

#[tokio::test]
async fn the_newest_index_goes_last_unless_nobody_reads_it_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets {
        all: entries(4),
        low_water: percent::parse("50%").unwrap(),
        ..Budgets::default()
    };
    let server = start(dir.path(), budgets).await;
    let index = |number| format!("index-app-1-f921bd05#{number}");
    server
        .save_each(DEFAULT_REPOSITORY, &[&index(1), &index(2), "a", "b", "c"])
        .await;
    assert_eq!(
        server.keys(DEFAULT_REPOSITORY).await,
        [&index(2), "c"],
        "an index that was replaced is nothing special"
    );
    server.advance(8 * DAY);
    server.save_each(DEFAULT_REPOSITORY, &["d", "e", "f"]).await;
    assert_eq!(server.keys(DEFAULT_REPOSITORY).await, ["e", "f"]);
}

#[tokio::test]
async fn who_reads_an_entry_reads_on_while_it_is_evicted() {
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets {
        all: entries(1),
        ..Budgets::default()
    };
    let server = start(dir.path(), budgets).await;
    // More than any buffer on the way holds.
    let content: Vec<u8> = (0..32 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    server.main().save("large", &content).await;
    let (_, url) = server.main().found("large").await.unwrap();
    let reading = server.get(&url).await;
    server.advance(Duration::from_secs(1));
    server.main().save("small", CONTENT).await;
    assert_eq!(server.keys(DEFAULT_REPOSITORY).await, ["small"]);
    assert_eq!(names(&dir.path().join("blobs")).len(), 1);
    assert_eq!(server.get(&url).await.status(), StatusCode::NOT_FOUND);
    assert!(reading.bytes().await.unwrap() == content);
}

/// The commit that crosses a budget wakes the eviction, and the next reservation finds room.
#[tokio::test]
async fn nobody_has_to_collect() {
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets {
        repository: entries(3),
        low_water: percent::parse("100%").unwrap(),
        ..Budgets::default()
    };
    let server = start(dir.path(), budgets).await;
    for number in 0..20 {
        server.main().save(&format!("k{number}"), CONTENT).await;
        server.main().reserved(&format!("next{number}")).await;
        let stored = server.metric("buildkit_gha_service_entries ").await;
        assert!(stored <= 3, "{stored}");
    }
}

/// A budget that is smaller than what there is holds from the start on.
#[tokio::test]
async fn a_budget_that_comes_later_is_kept_from_the_start_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), Budgets::default()).await;
    for number in 0..100 {
        server.main().save(&format!("k{number:02}"), CONTENT).await;
    }
    server.stop().await;
    let budgets = Budgets {
        all: bytes(1_000),
        ..Budgets::default()
    };
    let server = start(dir.path(), budgets).await;
    let left: Vec<_> = (91..100).map(|number| format!("k{number}")).collect();
    assert_eq!(server.keys(DEFAULT_REPOSITORY).await, left);
    server.stop().await;
    audit(dir.path());
}

/// GitHub's.
const WORDS: &str = "The cache filesize must be between 0 and 99 bytes";

async fn refused(response: Response, key: &str) {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let said = body(response).await;
    let said = said[key].as_str().unwrap();
    assert!(said.starts_with(WORDS), "{said}");
}

#[tokio::test]
async fn what_could_never_stay_is_refused_in_githubs_words() {
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets {
        all: bytes(1_000),
        repository: bytes(99),
        ..Budgets::default()
    };
    let server = start(dir.path(), budgets).await;
    let client = server.main();
    let reserve = |size| {
        let request = json!({"key": "told", "version": VERSION, "cacheSize": size});
        let caches = "/_apis/artifactcache/caches";
        client.request(Method::POST, caches).json(&request).send()
    };
    refused(reserve(100).await.unwrap(), "message").await;
    let told = reserve(99).await.unwrap();
    assert_eq!(told.status(), StatusCode::CREATED);

    let id = client.reserved("v1").await;
    let path = format!("/_apis/artifactcache/caches/{id}");
    let part = client
        .request(Method::PATCH, &path)
        .header("content-range", "bytes 50-99/*");
    let part = part.body(&CONTENT[50..]).send().await.unwrap();
    refused(part, "message").await;
    assert_eq!(client.commit(id, 100).await, StatusCode::NOT_FOUND);

    let url = client.create("v2").await;
    let whole = server.put(&url, "", CONTENT).await;
    assert_eq!(whole.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let said = whole.text().await.unwrap();
    assert!(said.contains(WORDS), "{said}");
    let url = client.create("v2").await;
    for block in ["AAAA", "AAAB"] {
        let block = format!("&comp=block&blockid={block}");
        let put = server.put(&url, &block, &CONTENT[..50]).await;
        assert_eq!(put.status(), StatusCode::CREATED);
    }
    let list = "<BlockList><Latest>AAAA</Latest><Latest>AAAB</Latest></BlockList>";
    let listed = server.put(&url, "&comp=blocklist", list).await;
    assert_eq!(listed.status(), StatusCode::CREATED);
    refused(client.finalize("v2", 100).await, "msg").await;
    // Its bytes are gone, and its key is free.
    assert_eq!(names(&dir.path().join("uploads")).len(), 1, "the one told");
    client.save("v1", &CONTENT[1..]).await;
    assert_eq!(server.keys(DEFAULT_REPOSITORY).await, ["v1"]);
}

/// However many upload at once: entries are above their budget by no more than what is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_who_upload_at_once_only_what_is_under_way_is_too_much() {
    const CLIENTS: usize = 64;
    const ROUNDS: usize = 5;
    const LIMIT: u64 = 2_000;
    let dir = tempfile::tempdir().unwrap();
    let budgets = Budgets {
        all: bytes(LIMIT),
        repository: bytes(LIMIT * 3 / 4),
        ..Budgets::default()
    };
    let server = start(dir.path(), budgets).await;
    let most = LIMIT + (CLIENTS * CONTENT.len()) as u64;
    let save_some = |client: usize| {
        let server = &server;
        async move {
            let repository = ["o/one", "o/two", "o/three"][client % 3];
            for round in 0..ROUNDS {
                let key = format!("{client}-{round}");
                server.of(repository).save(&key, CONTENT).await;
                let stored = server.metric("buildkit_gha_service_stored_bytes ").await;
                assert!(stored <= most, "{stored}");
                // Whoever is found is whole.
                if let Some((_, url)) = server.of(repository).found(&key).await {
                    let read = server.get(&url).await;
                    match read.status() {
                        StatusCode::OK => assert_eq!(read.bytes().await.unwrap(), CONTENT),
                        other => assert_eq!(other, StatusCode::NOT_FOUND),
                    }
                }
            }
        }
    };
    join_all((0..CLIENTS).map(save_some)).await;
    let mut left = 0;
    for repository in ["o/one", "o/two", "o/three"] {
        let keys = server.keys(repository).await.len();
        assert!(keys * CONTENT.len() <= 1_500, "{keys}");
        left += keys;
    }
    assert!((1..=20).contains(&left), "{left}");
    server.stop().await;
    audit(dir.path());
    assert_eq!(names(&dir.path().join("uploads")), Vec::<String>::new());
}
