//! The flags of the real program.

use std::{
    fs,
    process::{Command, Output},
};

use jiff::Timestamp;
use reqwest::{Client, StatusCode};

use super::{claims_at, issuer::Issuer, signer::Key};
use crate::program::Program;

#[tokio::test]
async fn flags_name_issuers_and_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::rsa("key");
    let issuer = Issuer::start(&[&key]).await;
    let keys = format!("{}/elsewhere", issuer.url);
    let flags = ["--trust-issuer", &issuer.url, "--jwks-url", &keys];
    let program = Program::start_with(&dir.path().join("data"), &dir.path().join("log"), &flags);
    let url = format!("{}/_apis/artifactcache/cache?keys=k&version=v", program.url);
    let token = key.sign(&claims_at(Timestamp::now().as_second(), &issuer.url));
    let client = Client::builder().no_proxy().build().unwrap();
    let answer = client.get(url).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    program.end();
}

#[test]
fn who_lets_all_of_github_in_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    let github = "https://token.actions.githubusercontent.com";
    // Nobody is asked: the keys are said to be where nobody listens.
    let open = [
        "--trust-issuer",
        github,
        "--jwks-url",
        "http://127.0.0.1:1/",
    ];
    let warning = "every repository of GitHub may use this service";
    Program::start_with(&data, &log, &open).end();
    assert!(fs::read_to_string(&log).unwrap().contains(warning));
    let log = dir.path().join("other");
    let named = [&open[..], &["--trust-repository", "1"]].concat();
    Program::start_with(&data, &log, &named).end();
    assert!(!fs::read_to_string(&log).unwrap().contains(warning));
}

/// What it says where it does not start.
fn refusal(flags: &[&str]) -> String {
    refusal_with(Command::new(env!("CARGO_BIN_EXE_buildkit-gha")), flags)
}

fn refusal_with(mut program: Command, flags: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let Output { status, stderr, .. } = program
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path())
        .args(flags)
        .output()
        .unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap()
}

#[test]
fn issuers_that_cannot_be_trusted_end_the_start() {
    let issuer = "https://ghes.example/_services/token";
    for (flags, why) in [
        (
            &["--trust-issuer", "http://ghes.example"][..],
            "it must be an https URL",
        ),
        (
            &[
                "--trust-issuer",
                issuer,
                "--jwks-url",
                "http://ghes.example",
            ],
            "it must be an https URL",
        ),
        (
            &[
                "--trust-issuer",
                &format!("{issuer},https://b.example"),
                "--jwks-url",
                issuer,
            ],
            "one for each, in the same order",
        ),
        (
            &["--trust-issuer", &format!("{issuer},{issuer}/")],
            "two trusted issuers",
        ),
        (&["--jwks-url", issuer], "--trust-issuer"),
        (&["--trust-repository", "1"], "--trust-issuer"),
        (
            &["--trust-issuer", issuer, "--trust-repository", "octo/app"],
            "is no id of a repository",
        ),
    ] {
        let words = refusal(flags);
        assert!(words.contains(why), "{words}");
    }
}

#[test]
fn where_there_are_no_certificates_people_read_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"));
    program.env("SSL_CERT_FILE", "/dev/null");
    program.env("SSL_CERT_DIR", empty.path());
    let words = refusal_with(program, &["--trust-issuer", "https://ghes.example"]);
    assert!(words.contains("No CA certificates"), "{words}");
    assert!(
        words.contains("name a file of them in SSL_CERT_FILE"),
        "{words}"
    );
}
