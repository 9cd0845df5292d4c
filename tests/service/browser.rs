//! The page for administrators in a real browser, which `e2e/npm/page.mjs` drives.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use buildkit_gha::{
    digest::Digest,
    protocol::{
        key::{self, IndexKey},
        scope::Permission,
    },
    service::{Config, Grant, NewToken, Role},
};
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

use crate::harness::{HOUR, MAIN, Server};

const NEXT: &str = "refs/heads/next";
const PULL: &str = "refs/pull/7/merge";
const DAY: Duration = Duration::from_hours(24);

/// How long a browser may take for all: it starts a few times and opens a page some fifty times.
const PATIENCE: Duration = Duration::from_mins(5);

fn digest(of: &str, number: usize) -> Digest {
    Digest::sha256(format!("{of} {number}"))
}

async fn save(server: &Server, repository: &str, scope: &str, key: &str, content: &[u8]) {
    let token = server.token_of(repository, &[(scope, Permission::READ_WRITE)]);
    server.client(token).save(key, content).await;
}

/// An index of layers upon each other, where two stand upon the second, and the time of each step.
fn index(layers: &[Digest], sizes: &[usize]) -> String {
    let layer = |(at, (digest, size)): (usize, (&Digest, &usize))| {
        let parent = if at == 4 {
            1
        } else {
            i64::try_from(at).unwrap() - 1
        };
        json!({"blob": digest.to_string(), "parent": parent, "annotations": {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "diffID": digest.to_string(), "size": size, "createdAt": "2027-01-10T09:15:00Z",
        }})
    };
    let step = |(at, digest): (usize, &Digest)| {
        let key = &Digest::sha256(format!("step {at}")).hex()[..32];
        json!({"def": key, "ms": 1300 * (at * at + 1), "layer": &digest.hex()[..16]})
    };
    let all: Vec<Value> = layers.iter().zip(sizes).enumerate().map(layer).collect();
    let records: Vec<Value> = (0..layers.len())
        .map(|at| json!({"layers": [{"layer": at}], "digest": at.to_string()}))
        .collect();
    let steps: Vec<Value> = layers.iter().enumerate().skip(1).map(step).collect();
    let steps = json!({"mode": "max", "steps": steps});
    json!({"layers": all, "records": records, "buildkit-gha:steps": steps}).to_string()
}

/// Builds of one branch: layers of which the last is missing, and two versions of the index.
async fn build(server: &Server, repository: &str, scope: &str, name: &str, sizes: &[usize]) {
    let own = |number: usize| if number < 3 { "all" } else { scope };
    let layers: Vec<Digest> = (0..sizes.len()).map(|at| digest(own(at), at)).collect();
    for (layer, size) in layers.iter().zip(sizes).take(sizes.len() - 1) {
        save(
            server,
            repository,
            scope,
            &key::blob(layer),
            &vec![0; *size],
        )
        .await;
    }
    for number in 1..=2 {
        let key = IndexKey::new(name, scope, false).entry(number);
        let text = index(&layers, sizes);
        save(server, repository, scope, &key, text.as_bytes()).await;
        server.advance(Duration::from_mins(7));
    }
}

/// What the page has to show: `unit` is how many bytes the smallest layers have.
async fn fill(server: &Server, unit: usize) {
    let sizes = [29, 4, 11, 7, 18, 2].map(|size| size * unit);
    build(server, "acme/shop", MAIN, "app", &sizes).await;
    let main = server.token_of("acme/shop", &[(MAIN, Permission::READ)]);
    let main = server.client(main);
    main.found("index-app").await.unwrap();
    main.found("buildkit-blob").await.unwrap();
    assert!(main.found("nothing").await.is_none());
    for day in 1..=12 {
        server.advance(DAY);
        let content = vec![1; unit * (1 + day * 5 % 7)];
        for name in ["deps", "tools"] {
            let key = format!("{name}-{day}");
            save(server, "acme/site", MAIN, &key, &content).await;
            if day % 3 == 0 {
                save(server, "acme/billing", NEXT, &key, &content).await;
            }
        }
        let site = server.token_of("acme/site", &[(MAIN, Permission::READ)]);
        let site = server.client(site);
        for lookup in 0..20 + day {
            site.lookup(if lookup % 6 == 0 { "none" } else { "deps-" })
                .await;
        }
    }
    build(server, "acme/shop", NEXT, "app", &sizes[..5]).await;
    for (repository, scope, key) in [
        ("acme/shop", PULL, "deps-1"),
        ("acme/shop", PULL, "deps-2"),
        ("acme/shop", MAIN, "packages-1"),
        ("acme/site", MAIN, "<img src=x onerror=alert(1)>"),
    ] {
        save(server, repository, scope, key, b"some more").await;
    }
    let reserved = server.client(server.token_of("acme/shop", &[(MAIN, Permission::READ_WRITE)]));
    let id = reserved.reserved("still-coming").await;
    reserved.patch(id, "bytes 0-8191/*", vec![0; 8192]).await;
    server.advance(Duration::from_secs(12));
}

fn administrator(server: &Server, role: Role) -> String {
    let token = server.service.mint(NewToken {
        grant: Grant::Administration {
            role,
            repository: None,
        },
        ttl: HOUR,
        name: Some("ops".to_owned()),
    });
    token.unwrap().expose().to_owned()
}

/// Runs the browser. It ends with the test that has started it.
async fn browse(server: &Server, arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/npm/page.mjs");
    let running = Command::new("node")
        .arg(script)
        .args(arguments)
        .env("PAGE_URL", &server.url)
        .env("PAGE_PRUNE_TOKEN", administrator(server, Role::Prune))
        .env("PAGE_READ_TOKEN", administrator(server, Role::Read))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = timeout(PATIENCE, running).await;
    ended.expect("the browser ends in time").unwrap()
}

fn assert_ok(output: &Output) {
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[tokio::test]
async fn people_find_their_way_and_so_do_keyboards_and_readers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    fill(&server, 100).await;
    assert_ok(&browse(&server, &["check"]).await);
}

/// Not a test: `make page-screens` makes the pictures of the docs with it.
#[tokio::test]
#[ignore = "writes docs/images: make page-screens"]
async fn all_page_screens() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.budgets.all.bytes = Some(100_000_000);
    config.budgets.repository.entries = Some(16);
    let server = Server::start_with(config).await;
    fill(&server, 250_000).await;
    server.service.collect().await.unwrap();
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    std::fs::create_dir_all(&images).unwrap();
    assert_ok(&browse(&server, &["screens", images.to_str().unwrap()]).await);
}
