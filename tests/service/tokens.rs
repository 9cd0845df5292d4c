//! Tokens that the command makes, lists and revokes beside a service, and what the service makes of them.

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use reqwest::StatusCode;
use serde_json::Value;

use crate::harness::{Caller, MAIN, Server};

/// A token that is good for the clock of these tests, too.
const TTL: [&str; 2] = ["--ttl", "90d"];

/// How long a service may take a token that was revoked.
const BOUND: Duration = Duration::from_secs(10);

/// `buildkit-gha token` with the flags that say whose tokens.
pub fn token(place: &[&str], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
        .env_clear()
        .arg("token")
        .args(arguments)
        .args(place)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// What the command says when it succeeds.
pub fn said(place: &[&str], arguments: &[&str]) -> String {
    let output = token(place, arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// The records of all tokens.
pub fn list(place: &[&str]) -> Vec<Value> {
    let listed = said(place, &["list", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed["tokens"].as_array().unwrap().clone()
}

async fn status(client: &Caller<'_>) -> StatusCode {
    client.lookup("key").await.status()
}

/// What the command revokes is refused by all `servers` within the bound, and nothing else is.
pub async fn a_revoked_token_is_refused(place: &[&str], servers: &[&Server]) {
    let scope = format!("{MAIN}=rw");
    let mint = |name| {
        let all = [&["--scope", &scope, "--name", name], &TTL[..]].concat();
        said(place, &all).trim_end().to_owned()
    };
    let (lost, kept) = (mint("ci"), mint("kept"));
    for server in servers {
        for token in [&lost, &kept] {
            let client = server.client(token.clone());
            assert_eq!(status(&client).await, StatusCode::NO_CONTENT);
        }
    }
    let listed = list(place);
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(listed[0]["name"], "ci");
    assert_eq!(listed[0]["state"], "good");
    assert_eq!(listed[0]["repository"], "local/cache");
    assert_eq!(listed[0]["scopes"][0], scope);
    let revoked = said(place, &["revoke", "ci"]);
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(revoked, format!("revoked: ci ({id})\n"));
    assert_eq!(list(place)[0]["state"], "revoked");
    for server in servers {
        server.advance(BOUND);
        let refused = server.client(lost.clone()).lookup("key").await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        let words = refused.text().await.unwrap();
        assert!(words.contains("was revoked"), "{words}");
        let kept = server.client(kept.clone());
        assert_eq!(status(&kept).await, StatusCode::NO_CONTENT);
    }
    let again = token(place, &["revoke", "ci"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("token list"));
    said(place, &["revoke", list(place)[1]["id"].as_str().unwrap()]);
}

/// The flags for a data directory.
pub fn place(data_dir: &Path) -> [&str; 2] {
    ["--data-dir", data_dir.to_str().unwrap()]
}

#[tokio::test]
async fn a_running_service_refuses_what_the_command_revokes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.main().save("entry", b"content").await;
    a_revoked_token_is_refused(&place(dir.path()), &[&server]).await;
    let found = server.main().lookup("entry").await;
    let words = "no command has removed the log of the database";
    assert_eq!(found.status(), StatusCode::OK, "{words}");
    server.stop().await;
}

#[tokio::test]
async fn tokens_of_a_directory_without_a_service_are_its_own_later() {
    let dir = tempfile::tempdir().unwrap();
    let mint = ["--scope", "refs/heads/main=rw", "--ttl", "90d"];
    let token = said(&place(dir.path()), &mint);
    let server = Server::start(dir.path()).await;
    let client = server.client(token.trim_end().to_owned());
    client.save("key", b"content").await;
    let listed = list(&place(dir.path()));
    let name = listed[0]["name"].as_str().unwrap();
    assert!(name.starts_with("local/cache@20"), "{name}");
}

/// A listing has what tells tokens apart, and none of them.
#[test]
fn a_listing_shows_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let minted = [
        said(&place, &["--scope", "refs/heads/main=rwd", "--name", "ci"]),
        said(&place, &["--role", "prune", "--name", "ops"]),
        said(&place, &["--role", "read", "--repository", "o/r"]),
    ];
    let table = said(&place, &["list"]);
    for token in minted {
        let signature = token.trim_end().rsplit('.').next().unwrap();
        assert!(!table.contains(signature), "{table}");
    }
    let rows: Vec<_> = table.lines().collect();
    assert_eq!(rows.len(), 4, "{table}");
    assert!(rows[0].starts_with("NAME"), "{table}");
    assert!(rows[0].ends_with("STATE"), "{table}");
    for (row, part) in [
        (1, "local/cache refs/heads/main=rwd"),
        (2, "all repositories (prune)"),
        (3, "o/r (read)"),
    ] {
        assert!(rows[row].contains(part), "{table}");
        assert!(rows[row].ends_with("good"), "{table}");
    }
}

/// Each is told on standard error, beside the answer.
#[test]
fn what_is_done_to_tokens_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    for (arguments, words) in [
        (
            &["--scope", "main=rw", "--name", "ci"][..],
            "a token was made",
        ),
        (&["list"], "tokens were listed"),
        (&["revoke", "ci"], "a token was revoked"),
    ] {
        let output = token(&place, arguments);
        let told = text(&output.stderr);
        assert!(told.contains("buildkit_gha::audit"), "{told}");
        assert!(told.contains(words), "{told}");
    }
}
