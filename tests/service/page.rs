//! The page for administrators: its files, its API, who sees what, and what it deletes.

use std::{fs, time::Duration};

use buildkit_gha::{
    digest::Digest,
    protocol::{
        key::{self, BlobKey, IndexKey},
        scope::Permission,
    },
    service::{
        Config, Role,
        config::{AuditTarget, UpstreamUrl},
    },
};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::harness::{Caller, MAIN, Server, body};

const NEXT: &str = "refs/heads/next";

async fn get(client: &Caller<'_>, path: &str) -> (StatusCode, Value) {
    let path = format!("/ui/api/v1/{path}");
    let answer = client.request(Method::GET, &path).send().await.unwrap();
    (answer.status(), body(answer).await)
}

async fn ok(client: &Caller<'_>, path: &str) -> Value {
    let (status, answer) = get(client, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

async fn delete(client: &Caller<'_>, what: Value) -> (StatusCode, Value) {
    let request = client.request(Method::POST, "/ui/api/v1/delete");
    let answer = request.json(&what).send().await.unwrap();
    (answer.status(), body(answer).await)
}

fn writer<'a>(server: &'a Server, repository: &str, scope: &str) -> Caller<'a> {
    let token = server.token_of(repository, &[(scope, Permission::READ_WRITE)]);
    server.client(token)
}

fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let rows = list.as_array().unwrap().iter();
    rows.map(|row| row[field].as_str().unwrap()).collect()
}

#[track_caller]
fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().unwrap()
}

#[tokio::test]
async fn its_files_come_with_a_strict_policy() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let page = server.get(&format!("{}/ui/", server.url)).await;
    assert_eq!(page.status(), StatusCode::OK);
    let headers = page.headers().clone();
    assert_eq!(header(&headers, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&headers, "x-content-type-options"), "nosniff");
    assert_eq!(header(&headers, "referrer-policy"), "no-referrer");
    assert_eq!(header(&headers, "cache-control"), "no-cache");
    let policy = header(&headers, "content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
    let html = page.text().await.unwrap();
    let link = regex::Regex::new(r##"(?:src|href)="([^"#]+)""##).unwrap();
    let names: Vec<_> = link
        .captures_iter(&html)
        .map(|found| found[1].to_owned())
        .collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let file = server.get(&format!("{}/ui/{name}", server.url)).await;
        assert_eq!(file.status(), StatusCode::OK, "{name}");
    }
    let again = server
        .plain(Method::GET, &format!("{}/ui/", server.url))
        .header("if-none-match", header(&headers, "etag"))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let folder = server.get(&format!("{}/ui", server.url)).await;
    assert_eq!(folder.url().path(), "/ui/", "it leads there");
    for missing in ["/ui/none.js", "/ui/../Cargo.toml", "/ui/api/v1/none"] {
        let none = server.get(&format!("{}{missing}", server.url)).await;
        assert_eq!(none.status(), StatusCode::NOT_FOUND, "{missing}");
    }
    let metrics = server.get(&format!("{}/metrics", server.url)).await;
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("requests_total{operation=\"page\",code=\"200\"}"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("operation=\"other\",code=\"200\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn the_page_can_be_left_out_and_never_goes_upstream() {
    // Nobody listens there: what is sent on is answered with 502.
    let nowhere = UpstreamUrl::parse("http://127.0.0.1:9/").unwrap();
    let paths = ["/ui/", "/ui/none", "/ui/api/v1/session"];
    for (page, statuses) in [(true, [200, 404, 401]), (false, [404; 3])] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path());
        config.page = page;
        config.upstream_results = Some(nowhere.clone());
        let server = Server::start_with(config).await;
        for (path, status) in paths.iter().zip(statuses) {
            let answer = server.get(&format!("{}{path}", server.url)).await;
            assert_eq!(answer.status(), status, "{path}");
        }
    }
}

#[tokio::test]
async fn only_administrators_are_answered_and_each_about_its_own() {
    const PATHS: [&str; 7] = [
        "session",
        "health",
        "repositories",
        "uploads",
        "entries",
        "scopes?repository=o/r",
        "index?repository=o/r&id=1",
    ];
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    writer(&server, "o/r", MAIN).save("key", b"content").await;
    writer(&server, "o/s", MAIN).save("key", b"content").await;
    for path in PATHS {
        let (status, _) = get(&server.client("x.y.z".into()), path).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        let (status, words) = get(&server.keeper(), path).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(
            words["message"].to_string().contains("--role read"),
            "{words}"
        );
    }
    let of_one = server.administrator(Role::Admin, Some("o/r"));
    let session = ok(&of_one, "session").await;
    assert_eq!(
        (&session["repository"], &session["role"]),
        (&json!("o/r"), &json!("admin"))
    );
    let listed = ok(&of_one, "repositories").await;
    assert_eq!(texts(&listed["repositories"], "repository"), ["o/r"]);
    let found = ok(&of_one, "entries?text=key").await;
    assert_eq!(texts(&found["entries"], "repository"), ["o/r"]);
    let health = ok(&of_one, "health").await;
    assert_eq!(health["usage"], json!({"bytes": 7, "entries": 1}));
    assert!(health.get("disk").is_none() && health.get("replicas").is_none());
    for path in [
        "scopes?repository=o/s",
        "entries?repository=o/s",
        "repositories?repository=o/s",
    ] {
        assert_eq!(get(&of_one, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    let elsewhere = json!({"repository": "o/s", "scope": MAIN});
    assert_eq!(delete(&of_one, elsewhere).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn repositories_say_what_they_take_and_what_has_happened() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.budgets.repository.entries = Some(2);
    let server = Server::start_with(config).await;
    let builder = writer(&server, "o/r", MAIN);
    builder.save("a", b"x").await;
    builder.found("a").await.unwrap();
    assert_eq!(builder.found("none").await, None);
    server.advance(Duration::from_hours(24));
    let builder = writer(&server, "o/r", MAIN);
    for key in ["b", "c"] {
        builder.save(key, b"xx").await;
    }
    server.service.collect().await.unwrap();
    writer(&server, "o/s", MAIN).save("a", b"x").await;
    let reader = server.administrator(Role::Read, None);
    let listed = ok(&reader, "repositories").await;
    assert_eq!(listed["total"], 2);
    let first = &listed["repositories"][0];
    assert_eq!(
        (&first["repository"], &first["bytes"]),
        (&json!("o/r"), &json!(2))
    );
    let days = first["days"].as_array().unwrap();
    assert_eq!(texts(&first["days"], "day"), ["2027-01-15", "2027-01-16"]);
    assert_eq!(
        (&days[0]["hits"], &days[0]["misses"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(days[0]["added"], json!({"bytes": 1, "entries": 1}));
    assert_eq!(days[1]["added"], json!({"bytes": 4, "entries": 2}));
    assert_eq!(days[1]["evicted"], json!({"bytes": 3, "entries": 2}));
    let today = ok(&reader, "repositories?days=1&per_page=1").await;
    assert_eq!(today["repositories"].as_array().unwrap().len(), 1);
    assert_eq!(
        texts(&today["repositories"][0]["days"], "day"),
        ["2027-01-16"]
    );
    server.stop().await;

    let server = Server::start(dir.path()).await;
    server.advance(Duration::from_hours(24));
    let reader = server.administrator(Role::Read, None);
    let kept = ok(&reader, "repositories?repository=o/r").await;
    assert_eq!(texts(&kept["repositories"][0]["days"], "day").len(), 2);
    server.advance(91 * Duration::from_hours(24));
    server.service.collect().await.unwrap();
    let token = server.administrator(Role::Read, None);
    let forgotten = ok(&token, "repositories?repository=o/r&days=90").await;
    assert_eq!(forgotten["repositories"][0]["days"], json!([]));
}

#[tokio::test]
async fn entries_come_in_pages_and_are_found_by_parts_of_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    for number in 0..5 {
        let key = format!("deps-{number}");
        writer(&server, "o/r", MAIN)
            .save(&key, &b"xxxxx"[number..])
            .await;
    }
    writer(&server, "o/r", NEXT).save("other", b"xx").await;
    writer(&server, "o/s", MAIN).save("more-DEPS", b"x").await;
    let reader = server.administrator(Role::Read, None);
    let page = ok(
        &reader,
        "entries?repository=o/r&prefix=deps-&sort=size_in_bytes&per_page=2&page=2",
    )
    .await;
    assert_eq!(page["total"], 5);
    assert_eq!(texts(&page["entries"], "key"), ["deps-2", "deps-3"]);
    let everywhere = ok(&reader, "entries?text=deps&sort=created_at&direction=desc").await;
    assert_eq!(everywhere["total"], 6);
    let scope = ok(&reader, &format!("entries?repository=o/r&scope={NEXT}")).await;
    assert_eq!(texts(&scope["entries"], "key"), ["other"]);
    let many = ok(&reader, "entries?per_page=4000").await;
    assert_eq!(many["entries"].as_array().unwrap().len(), 7);
    let scopes = ok(&reader, "scopes?repository=o/r").await;
    assert_eq!(texts(&scopes["scopes"], "scope"), [MAIN, NEXT]);
    assert_eq!(scopes["scopes"][0]["bytes"], 15);
    for wrong in ["entries?sort=none", "scopes", "index?repository=o/r&id=x"] {
        let (status, _) = get(&reader, wrong).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

/// Entries, of which one role may delete some, with a line in the audit log for each.
#[tokio::test]
async fn what_is_deleted_stands_in_the_audit_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit");
    let mut config = Config::new(dir.path().join("data"));
    config.audit_log = Some(AuditTarget::File(log.clone()));
    let server = Server::start_with(config).await;
    for key in ["a", "b", "c"] {
        writer(&server, "o/r", MAIN).save(key, b"content").await;
    }
    writer(&server, "o/r", NEXT).save("d", b"content").await;
    let reader = server.administrator(Role::Read, None);
    let listed = ok(
        &reader,
        "entries?repository=o/r&sort=created_at&direction=asc",
    )
    .await;
    let id = |at: usize| listed["entries"][at]["id"].clone();
    let some = json!({"repository": "o/r", "ids": [id(0), id(1), 12345]});
    let (status, words) = delete(&reader, some.clone()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(
        words["message"].to_string().contains("role prune"),
        "{words}"
    );

    let pruner = server.administrator(Role::Prune, None);
    let stranger = json!({"repository": "o/s", "ids": [id(0)]});
    let (_, answer) = delete(&pruner, stranger).await;
    assert_eq!(answer["entries"], 0, "it is an entry of o/r");
    let (status, answer) = delete(&pruner, some).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer, json!({"bytes": 14, "entries": 2, "left": 0}));
    let (_, answer) = delete(&pruner, json!({"repository": "o/r", "scope": MAIN})).await;
    assert_eq!(answer, json!({"bytes": 7, "entries": 1, "left": 0}));
    let left = ok(&reader, "entries").await;
    assert_eq!(texts(&left["entries"], "scope"), [NEXT]);
    for wrong in [
        json!({"repository": "o/r"}),
        json!({"repository": "o/r", "ids": [1], "scope": MAIN}),
        json!({"repository": "o/r", "ids": vec![1; 201]}),
        json!({"ids": [1]}),
    ] {
        let (status, _) = delete(&pruner, wrong).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let log = fs::read_to_string(log).unwrap();
    let deletions = log
        .lines()
        .filter(|line| line.contains("\"entry_deleted\""));
    let keys: Vec<String> = deletions
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].to_string())
        .collect();
    assert_eq!(keys, ["\"a\"", "\"b\"", "\"c\""]);
}

/// A layer upon another, of which one was evicted, and another branch that has one of them, too.
#[tokio::test]
async fn an_index_is_a_tree_that_says_what_is_here_and_shared() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let [base, top] = ["base", "top"].map(Digest::sha256);
    let layer = |digest: &Digest, parent: i64| {
        json!({"blob": digest.to_string(), "parent": parent, "annotations": {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "diffID": digest.to_string(), "size": 1000, "createdAt": "2026-02-03T04:05:06Z",
        }})
    };
    let step = json!({"def": "00".repeat(16), "ms": 1500, "layer": &top.hex()[..16]});
    let lost = json!({"def": "11".repeat(16), "layer": ""});
    let index = json!({
        "layers": [layer(&base, -1), layer(&top, 0)],
        "records": [{"layers": [{"layer": 1}], "digest": "k"}],
        "buildkit-gha:steps": {"mode": "max", "steps": [step, lost]},
    });
    let index_key = |scope| IndexKey::new("app", scope, false).entry(1);
    let main = writer(&server, "o/r", MAIN);
    main.save(&key::blob(&base), b"bytes").await;
    main.save(&BlobKey::new(base).entry(1), b"bytes").await;
    main.save(&index_key(MAIN), index.to_string().as_bytes())
        .await;
    let next = writer(&server, "o/r", NEXT);
    let other = json!({"layers": [layer(&base, -1)]}).to_string();
    next.save(&index_key(NEXT), other.as_bytes()).await;
    next.save(&IndexKey::new("broken", NEXT, false).entry(1), b"no index")
        .await;

    let reader = server.administrator(Role::Read, None);
    let found = ok(&reader, &format!("entries?prefix=index-app&scope={MAIN}")).await;
    let id = &found["entries"][0]["id"];
    let tree = ok(&reader, &format!("index?repository=o/r&id={id}")).await;
    assert_eq!(
        (&tree["mode"], &tree["records"]),
        (&json!("max"), &json!(1))
    );
    assert_eq!(
        (&tree["index"]["name"], &tree["index"]["number"]),
        (&json!("app"), &json!(1))
    );
    let (low, high) = (&tree["layers"][0], &tree["layers"][1]);
    assert_eq!((&low["parent"], &high["parent"]), (&Value::Null, &json!(0)));
    assert_eq!(
        low["entries"].as_array().unwrap().len(),
        2,
        "with its replacement"
    );
    assert_eq!(high["entries"], json!([]), "it is not here");
    assert_eq!((&low["results"], &high["results"]), (&json!(0), &json!(1)));
    assert_eq!(high["steps"][0]["milliseconds"], 1500);
    assert_eq!(tree["steps_without_layer"], 1);
    assert_eq!(
        (&low["shared_with"], &high["shared_with"]),
        (&json!([0]), &json!([]))
    );
    assert_eq!(texts(&tree["sharing"], "scope"), [NEXT]);
    assert_eq!(
        (&tree["others_read"], &tree["others_unread"]),
        (&json!(1), &json!(1))
    );

    let broken = ok(&reader, "entries?prefix=index-broken").await;
    let blob = ok(&reader, "entries?prefix=buildkit-blob").await;
    for entry in [&broken["entries"][0]["id"], &blob["entries"][0]["id"]] {
        let (status, words) = get(&reader, &format!("index?repository=o/r&id={entry}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{words}");
    }
    for path in [
        format!("index?repository=o/s&id={id}"),
        "index?repository=o/r&id=1".to_owned(),
    ] {
        assert_eq!(get(&reader, &path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn uploads_and_health_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.budgets.all.bytes = Some(1 << 40);
    let server = Server::start_with(config).await;
    let builder = writer(&server, "o/r", MAIN);
    let id = builder.reserved("slow").await;
    assert_eq!(
        builder.patch(id, "bytes 0-2/*", *b"abc").await,
        StatusCode::NO_CONTENT
    );
    server.advance(Duration::from_mins(1));
    let reader = server.administrator(Role::Read, None);
    let uploads = ok(&reader, "uploads").await;
    let upload = &uploads["uploads"][0];
    assert_eq!(
        (&upload["key"], &upload["bytes"]),
        (&json!("slow"), &json!(3))
    );
    assert_eq!(upload["begun"], "2027-01-15T08:00:00Z");
    assert_eq!(uploads["now"], "2027-01-15T08:01:00Z");
    let of_other = server.administrator(Role::Read, Some("o/s"));
    assert_eq!(ok(&of_other, "uploads").await["uploads"], json!([]));
    let health = ok(&reader, "health").await;
    assert_eq!(
        health["database"],
        json!({"kind": "SQLite", "reachable": true})
    );
    assert_eq!(
        health["storage"],
        json!({"kind": "files", "reachable": true})
    );
    assert_eq!(health["limits"]["all"]["bytes"], 1_u64 << 40);
    assert!(health["disk"]["free"].as_u64().unwrap() > 0);
    assert_eq!(health["replicas"], json!([]));
}

/// The same tables elsewhere, and what two processes have counted.
#[cfg(feature = "e2e")] // It runs a server.
#[tokio::test]
async fn replicas_count_together() {
    use crate::postgres;

    let database = postgres::server::Postgres::shared().database();
    let (data, more) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = tempfile::tempdir().unwrap();
    let url = format!("file://{}", store.path().display());
    let config = |dir| Config {
        store: Some(buildkit_gha::service::config::StoreUrl::parse(&url).unwrap()),
        ..postgres::config(dir, &database)
    };
    let one = Server::start_with(config(data.path())).await;
    let other = Server::start_with(config(more.path())).await;
    writer(&one, "o/r", MAIN).save("key", b"content").await;
    writer(&other, "o/r", MAIN).found("key").await.unwrap();
    other.service.collect().await.unwrap();
    writer(&other, "o/r", MAIN).reserved("next").await;
    let reader = one.administrator(Role::Prune, None);
    let listed = ok(&reader, "repositories").await;
    let day = &listed["repositories"][0]["days"][0];
    assert_eq!(
        (&day["hits"], &day["added"]["bytes"]),
        (&json!(1), &json!(7))
    );
    let health = ok(&reader, "health").await;
    assert_eq!(health["database"]["kind"], "PostgreSQL");
    let replicas = health["replicas"].as_array().unwrap();
    assert_eq!(
        &ok(&reader, "uploads").await["replicas"],
        &health["replicas"]
    );
    assert_eq!(replicas.len(), 2);
    assert_eq!(
        (&replicas[0]["own"], &replicas[0]["uploads"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(
        (&replicas[1]["own"], &replicas[1]["uploads"]),
        (&json!(false), &json!(1))
    );
    for strange in [
        "entries?repository=o%00",
        "scopes?repository=%00",
        "repositories?repository=%00",
    ] {
        assert_eq!(get(&reader, strange).await.0, StatusCode::NOT_FOUND);
    }
    let none = ok(&reader, "entries?scope=%00&text=%00").await;
    assert_eq!(none["total"], 0);
    let found = ok(&reader, "entries?text=EY").await;
    assert_eq!(found["total"], 1);
    let (_, answer) = delete(&reader, json!({"repository": "o/r", "scope": MAIN})).await;
    assert_eq!(answer["entries"], 1);
}
