//! The same bytes in several scopes of a repository are stored once.

use std::{collections::BTreeSet, fs, path::Path};

use buildkit_gha::{protocol::scope::Permission, service::DEFAULT_REPOSITORY};
use reqwest::{Method, StatusCode};

use crate::{
    harness::{Caller, HOUR, Server, body},
    program::{audit, names},
};

const SCOPES: [&str; 5] = ["main", "one", "two", "three", "four"];

const CONTENT: &[u8] = &[7; 5000];

/// As many bytes, but others.
const OTHER: &[u8] = &[8; CONTENT.len()];

impl Server {
    /// A client that may do everything in one scope.
    fn scope(&self, scope: &str) -> Caller<'_> {
        self.client(self.token(&[(scope, Permission::READ_WRITE_DELETE)]))
    }

    async fn save_everywhere(&self, key: &str) {
        for scope in SCOPES {
            self.scope(scope).save(key, CONTENT).await;
        }
    }

    /// The content of a key in a scope.
    async fn read(&self, scope: &str, key: &str) -> Option<Vec<u8>> {
        let (found, url) = self.scope(scope).found(key).await?;
        assert_eq!(found, key);
        let answer = self.get(&url).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Some(answer.bytes().await.unwrap().to_vec())
    }

    async fn assert_everywhere(&self, key: &str) {
        for scope in SCOPES {
            let read = self.read(scope, key).await;
            assert!(read.as_deref() == Some(CONTENT), "{scope}");
        }
    }

    async fn delete_in(&self, scope: &str, key: &str) {
        let path = format!("/repos/{DEFAULT_REPOSITORY}/actions/caches?key={key}&ref={scope}");
        let deleted = self.scope(scope).request(Method::DELETE, &path);
        let deleted = deleted.send().await.unwrap();
        assert_eq!(deleted.status(), StatusCode::OK, "{scope}");
    }

    /// Joins what is equal, and removes what nobody can be reading any more.
    async fn share(&self) {
        self.service.share_contents().await.unwrap();
        self.advance(2 * HOUR);
        self.service.collect().await.unwrap();
    }
}

fn blobs(data_dir: &Path) -> BTreeSet<String> {
    names(&data_dir.join("blobs")).into_iter().collect()
}

#[tokio::test]
async fn the_same_bytes_in_five_scopes_are_one_file_and_count_five_times() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.save_everywhere("k").await;
    assert_eq!(blobs(dir.path()).len(), 5);
    server.service.share_contents().await.unwrap();
    server.service.collect().await.unwrap();
    assert_eq!(blobs(dir.path()).len(), 5, "somebody may be reading");
    server.share().await;
    assert_eq!(blobs(dir.path()).len(), 1);
    server.assert_everywhere("k").await;
    let size = CONTENT.len() as u64;
    assert_eq!(server.metric("buildkit_gha_service_entries ").await, 5);
    assert_eq!(
        server.metric("buildkit_gha_service_stored_bytes ").await,
        5 * size
    );
    assert_eq!(
        server.metric("buildkit_gha_service_physical_bytes ").await,
        size
    );
    assert_eq!(
        server
            .metric("buildkit_gha_service_joined_bytes_total ")
            .await,
        4 * size
    );
    let path = format!("/repos/{DEFAULT_REPOSITORY}/actions/caches?key=k");
    let listed = server.keeper().request(Method::GET, &path);
    let listed = body(listed.send().await.unwrap()).await;
    assert_eq!(listed["total_count"], 0, "it reads none of these scopes");
    for scope in SCOPES {
        let listed = server.scope(scope).request(Method::GET, &path);
        let listed = body(listed.send().await.unwrap()).await;
        assert_eq!(listed["actions_caches"][0]["size_in_bytes"], size);
    }
    let calls = "buildkit_gha_service_engine_duration_seconds_count{engine=\"database\",operation=\"share\",outcome=\"ok\"}";
    assert_eq!(server.metric(calls).await, 4);
    server.stop().await;
    audit(dir.path());
}

#[tokio::test]
async fn a_shared_content_stays_in_whatever_order_its_entries_go() {
    for first in 0..SCOPES.len() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path()).await;
        server.save_everywhere("k").await;
        server.share().await;
        for turn in 0..SCOPES.len() {
            let scope = |turn: usize| SCOPES[(first + turn) % SCOPES.len()];
            server.delete_in(scope(turn), "k").await;
            assert_eq!(server.read(scope(turn), "k").await, None);
            for left in turn + 1..SCOPES.len() {
                let read = server.read(scope(left), "k").await;
                assert!(read.as_deref() == Some(CONTENT), "{}", scope(left));
            }
        }
        assert!(blobs(dir.path()).is_empty());
        // Its key is free, and nothing is known of what was there.
        server.scope("one").save("k", OTHER).await;
        assert!(server.read("one", "k").await.as_deref() == Some(OTHER));
        server.stop().await;
        audit(dir.path());
    }
}

/// Whoever can write the same key in a scope of its own must not change what others read.
#[tokio::test]
async fn other_bytes_of_the_same_key_and_size_are_joined_with_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.scope("evil").save("k", OTHER).await;
    server.save_everywhere("k").await;
    server.scope("worse").save("k", OTHER).await;
    server.share().await;
    assert_eq!(blobs(dir.path()).len(), 2);
    server.assert_everywhere("k").await;
    for scope in ["evil", "worse"] {
        let read = server.read(scope, "k").await;
        assert!(read.as_deref() == Some(OTHER), "{scope}");
    }
    // Nor do two repositories know of each other.
    let stranger = server.token_of("o/stranger", &[("main", Permission::READ_WRITE)]);
    server.client(stranger).save("k", CONTENT).await;
    server.share().await;
    assert_eq!(blobs(dir.path()).len(), 3);
    server.stop().await;
    audit(dir.path());
}

#[tokio::test]
async fn what_is_deleted_before_it_is_compared_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.save_everywhere("k").await;
    for scope in ["main", "two"] {
        server.delete_in(scope, "k").await;
    }
    server.share().await;
    assert_eq!(blobs(dir.path()).len(), 1);
    for scope in ["one", "three", "four"] {
        assert!(server.read(scope, "k").await.as_deref() == Some(CONTENT));
    }
    // The next one finds them, too.
    server.scope("main").save("k", CONTENT).await;
    server.share().await;
    assert_eq!(blobs(dir.path()).len(), 1);
    assert!(server.read("main", "k").await.as_deref() == Some(CONTENT));
    server.stop().await;
    audit(dir.path());
}

#[tokio::test]
async fn a_restart_in_the_middle_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.save_everywhere("before").await;
    // Joined, and not collected: what nobody has any more is still there.
    server.service.share_contents().await.unwrap();
    server.save_everywhere("after").await;
    server.stop().await;
    let server = Server::start(dir.path()).await;
    for key in ["before", "after"] {
        server.assert_everywhere(key).await;
    }
    server.share().await;
    assert_eq!(blobs(dir.path()).len(), 2);
    for key in ["before", "after"] {
        server.assert_everywhere(key).await;
    }
    server.stop().await;
    audit(dir.path());
}

#[tokio::test]
async fn a_shared_content_that_is_damaged_is_no_entry_of_any_scope() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.save_everywhere("k").await;
    server.share().await;
    let blob = blobs(dir.path()).into_iter().next().unwrap();
    fs::write(dir.path().join("blobs").join(blob), "cut").unwrap();
    assert_eq!(server.scope("three").found_key("k").await, None);
    assert!(blobs(dir.path()).is_empty());
    assert_eq!(server.metric("buildkit_gha_service_entries ").await, 0);
    server.save_everywhere("k").await;
    server.assert_everywhere("k").await;
    server.stop().await;
    audit(dir.path());
}

/// What is damaged before it was compared takes no other with it.
#[tokio::test]
async fn a_damaged_content_is_joined_with_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.scope("main").save("k", CONTENT).await;
    let blob = blobs(dir.path()).into_iter().next().unwrap();
    server.scope("one").save("k", CONTENT).await;
    fs::write(dir.path().join("blobs").join(blob), "cut").unwrap();
    server.share().await;
    assert_eq!(server.scope("main").found_key("k").await, None);
    assert!(server.read("one", "k").await.as_deref() == Some(CONTENT));
    assert_eq!(blobs(dir.path()).len(), 1);
    server.stop().await;
    audit(dir.path());
}
