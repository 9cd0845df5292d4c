//! GitHub's REST API: pages, order, deletion.

use std::time::Duration;

use buildkit_gha::protocol::scope::Permission;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{Caller, MAIN, Server, body};

const CACHES: &str = "/repos/local/cache/actions/caches";

async fn list(client: &Caller<'_>, query: &str) -> Value {
    let path = format!("{CACHES}{query}");
    let response = client.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    body(response).await
}

fn keys(list: &Value) -> Vec<&str> {
    let caches = list["actions_caches"].as_array().unwrap();
    caches
        .iter()
        .map(|cache| cache["key"].as_str().unwrap())
        .collect()
}

async fn delete(client: &Caller<'_>, path: &str) -> StatusCode {
    let path = format!("{CACHES}{path}");
    client
        .request(Method::DELETE, &path)
        .send()
        .await
        .unwrap()
        .status()
}

#[tokio::test]
async fn listings_come_in_pages_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    for (key, content) in [("b-1", "x"), ("a-1", "xxx"), ("b-2", "xx")] {
        client.save(key, content.as_bytes()).await;
        server.advance(Duration::from_secs(1));
    }
    let feature = ("refs/heads/feature", Permission::READ_WRITE);
    let client = server.client(server.token(&[feature, (MAIN, Permission::READ)]));
    client.save("b-3", b"xxxx").await;
    client.found("b-1").await.unwrap();
    server.advance(Duration::from_secs(1));

    let all = list(&client, "").await;
    assert_eq!(all["total_count"], 4);
    let by = async |query: &str| keys(&list(&client, query).await).join(" ");
    assert_eq!(by("?sort=created_at").await, "b-3 b-2 a-1 b-1");
    assert_eq!(
        by("?sort=created_at&direction=asc").await,
        "b-1 a-1 b-2 b-3"
    );
    assert_eq!(by("?sort=size_in_bytes&per_page=2&page=2").await, "b-2 b-1");
    assert_eq!(by("?sort=created_at&key=b-").await, "b-3 b-2 b-1");
    assert_eq!(by("?key=b-&ref=refs/heads/feature").await, "b-3");
    assert_eq!(by("?page=9").await, "");
    let page = list(&client, "?key=b-&per_page=1").await;
    assert_eq!(page["total_count"], 3);
    let entry = &list(&client, "?key=a-1").await["actions_caches"][0];
    assert_eq!(entry["ref"], MAIN);
    assert_eq!(entry["size_in_bytes"], 3);
    assert_eq!(entry["created_at"], "2027-01-15T08:00:01Z");
}

#[tokio::test]
async fn deleted_entries_are_gone_with_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.keeper();
    for key in ["key", "key-longer", "third"] {
        client.save(key, b"content").await;
    }
    let (_, url) = client.found("key").await.unwrap();
    assert_eq!(delete(&client, "?key=key").await, StatusCode::OK);
    assert_eq!(delete(&client, "?key=key").await, StatusCode::NOT_FOUND);
    assert_eq!(server.get(&url).await.status(), StatusCode::NOT_FOUND);
    let rest = list(&client, "?sort=created_at").await;
    assert_eq!(keys(&rest), ["third", "key-longer"]);
    let id = rest["actions_caches"][0]["id"].as_i64().unwrap();
    assert_eq!(
        delete(&client, &format!("/{id}")).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        delete(&client, &format!("/{id}")).await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        std::fs::read_dir(dir.path().join("blobs")).unwrap().count(),
        1
    );
    // A deleted key is free.
    client.save("key", b"again").await;
}

#[tokio::test]
async fn strangers_and_readers_delete_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.main().save("key", b"content").await;
    let reader = server.client(server.token(&[(MAIN, Permission::READ)]));
    assert_eq!(delete(&reader, "?key=key").await, StatusCode::FORBIDDEN);
    // Writing is no permission to delete.
    assert_eq!(
        delete(&server.main(), "?key=key").await,
        StatusCode::FORBIDDEN
    );
    let stranger = server.token_of("other/repo", &[(MAIN, Permission::READ_WRITE_DELETE)]);
    let stranger = server.client(stranger);
    assert_eq!(delete(&stranger, "?key=key").await, StatusCode::NOT_FOUND);
    let nobody = server.client("x.y.z".into());
    assert_eq!(delete(&nobody, "?key=key").await, StatusCode::UNAUTHORIZED);
    assert_eq!(list(&reader, "").await["total_count"], 1);
}

/// Whoever deletes must know of what it does not see.
#[tokio::test]
async fn who_may_delete_is_told_how_much_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.main().save("key-1", b"of main").await;
    let other = ("refs/pull/8/merge", Permission::READ_WRITE);
    let other = server.client(server.token(&[other]));
    for key in ["key-1", "key-2", "other"] {
        other.save(key, b"of another").await;
    }
    let keeper = server.keeper();
    assert_eq!(list(&keeper, "?key=key-").await["hidden_count"], 2);
    assert_eq!(list(&keeper, "?key=none").await["hidden_count"], 0);
    assert!(
        list(&server.main(), "?key=key-")
            .await
            .get("hidden_count")
            .is_none()
    );
}

/// The token of a pull request reads the default branch's entries. They are not its own to delete,
/// and those of other pull requests do not exist for it.
#[tokio::test]
async fn a_pull_request_deletes_its_own_and_lists_what_it_reads() {
    const OWN: &str = "refs/pull/7/merge";
    const OTHER: &str = "refs/pull/8/merge";
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.main().save("key", b"of main").await;
    let other = server.client(server.token(&[(OTHER, Permission::READ_WRITE)]));
    other.save("key", b"of another").await;
    let everything =
        server.client(server.token(&[(MAIN, Permission::READ), (OTHER, Permission::READ)]));
    let ids = list(&everything, "?sort=created_at&direction=asc").await;
    let id = |at: usize| ids["actions_caches"][at]["id"].as_i64().unwrap();
    let (main, other) = (id(0), id(1));

    let pull = server.client(server.token(&[
        (OWN, Permission::READ_WRITE_DELETE),
        (MAIN, Permission::READ),
    ]));
    pull.save("key", b"of its own").await;
    let listed = list(&pull, "?sort=created_at").await;
    assert_eq!(listed["total_count"], 2);
    let refs = |at: usize| listed["actions_caches"][at]["ref"].as_str().unwrap();
    assert_eq!((refs(0), refs(1)), (OWN, MAIN));
    assert_eq!(
        list(&pull, &format!("?ref={OTHER}")).await["total_count"],
        0
    );

    let by_id = |id: i64| format!("/{id}");
    assert_eq!(delete(&pull, &by_id(main)).await, StatusCode::FORBIDDEN);
    assert_eq!(delete(&pull, &by_id(other)).await, StatusCode::NOT_FOUND);
    let in_main = format!("?key=key&ref={MAIN}");
    assert_eq!(delete(&pull, &in_main).await, StatusCode::FORBIDDEN);
    assert_eq!(delete(&pull, "?key=key").await, StatusCode::OK);
    let rest = list(&everything, "").await;
    assert_eq!(rest["total_count"], 2, "only its own is gone: {rest}");
    assert_eq!(list(&pull, &format!("?ref={OWN}")).await["total_count"], 0);
}
