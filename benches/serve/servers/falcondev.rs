//! falcondev-oss/github-actions-cache-server.

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{Peers, START, engines::Engines};
use crate::{
    harness::{Http, Lab, Process, command},
    protocol::Protocol,
    server::{Address, Server},
};

/// One process, `SQLite` and files.
pub fn embedded(peers: &Peers) -> Server {
    start("falcondev", peers, |program, lab| {
        program
            .env("STORAGE_FILESYSTEM_PATH", lab.path("content"))
            .env("DB_SQLITE_PATH", lab.path("sqlite.db"));
    })
}

/// One process with a database and a bucket.
pub fn on_engines(peers: &Peers, engines: &'static Engines) -> Server {
    start("falcondev, PostgreSQL and S3", peers, |program, _| {
        program
            .env("STORAGE_DRIVER", "s3")
            .env("STORAGE_S3_BUCKET", "tests")
            .envs(engines.bucket.variables())
            .env("DB_DRIVER", "postgres")
            .env("DB_POSTGRES_URL", engines.database().url());
    })
}

fn start(name: &str, peers: &Peers, set: impl FnOnce(&mut Command, &Lab)) -> Server {
    let lab = Lab::new();
    let socket = free_socket();
    let mut node = command(&lab, peers.dir.join("node"));
    // As its own image starts it.
    node.arg("--expose-gc")
        .arg(peers.dir.join("falcondev/server/index.mjs"));
    node.env("NITRO_CLUSTER_WORKERS", "1")
        .env("HOST", socket.ip().to_string())
        .env("PORT", socket.port().to_string())
        .env("API_BASE_URL", format!("http://{socket}"))
        // Its tokens are GitHub's, whose keys cannot be had here: it is spared their signatures.
        .env("SKIP_TOKEN_VALIDATION", "true");
    set(&mut node, &lab);
    let mut process = Process::start(&lab, "falcondev", node);
    process.until("/health answers", START, |_| {
        Http::new(socket).text("/health")
    });
    let address = Address {
        socket,
        protocol: Protocol::V2,
        token: token(),
    };
    Server::new(name, address, vec![process]).with(lab)
}

/// A port that nobody has: it takes no socket that is open.
fn free_socket() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

/// A token as GitHub's, with no signature.
fn token() -> String {
    let scopes = json!([{ "Scope": "refs/heads/main", "Permission": 3 }]).to_string();
    let claims = json!({ "ac": scopes, "repository_id": "1" });
    let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = json!({ "alg": "RS256", "typ": "JWT" });
    format!("{}.{}.none", part(&header), part(&claims))
}
