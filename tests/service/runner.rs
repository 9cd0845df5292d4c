//! `doctor --runner`: what a job sees of its runner's override.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::{program::Program, upstream::stand_in};

/// A token for the service of `data_dir`.
fn token(data_dir: &Path) -> String {
    let minted = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
        .args(["token", "--scope", "refs/heads/main=rw", "--data-dir"])
        .arg(data_dir)
        .output()
        .unwrap();
    String::from_utf8(minted.stdout).unwrap().trim().to_owned()
}

/// What it says with these variables: the exit code, and each check with its status.
async fn doctor(variables: &[(&str, &str)]) -> (Option<i32>, Vec<(String, String)>) {
    let mut doctor = tokio::process::Command::new(env!("CARGO_BIN_EXE_buildkit-gha"));
    doctor.args(["doctor", "--runner", "-o", "json"]);
    // Of the machine nothing but what trusts certificates.
    doctor.env_clear().envs(variables.iter().copied());
    let output = doctor.output().await.unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let checks = said["checks"].as_array().unwrap().iter();
    let checks = checks.map(|check| (text(check, "name"), text(check, "status")));
    (output.status.code(), checks.collect())
}

fn status<'a>(checks: &'a [(String, String)], name: &str) -> &'a str {
    let check = checks.iter().find(|(known, _)| known == name);
    &check.unwrap_or_else(|| panic!("{name}: {checks:?}")).1
}

#[tokio::test]
async fn an_override_that_works_is_well() {
    let (upstream, requests) = stand_in().await;
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let flags = ["--upstream-results-url", &upstream];
    let program = Program::start_with(&data_dir, &dir.path().join("log"), &flags);
    let token = token(&data_dir);
    let (code, checks) = doctor(&[
        ("ACTIONS_RESULTS_URL", &program.url),
        ("ACTIONS_CACHE_SERVICE_V2", "true"),
        ("ACTIONS_RUNTIME_TOKEN", &token),
    ])
    .await;
    for name in [
        "variables",
        "override",
        "token",
        "service",
        "artifacts",
        "clock",
    ] {
        assert_eq!(status(&checks, name), "ok", "{checks:?}");
    }
    assert_eq!(code, Some(0), "{checks:?}");
    let target = requests.lock()[0].target.clone();
    assert!(
        target.ends_with("ArtifactService/ListArtifacts"),
        "{target}"
    );
    program.end();
}

#[tokio::test]
async fn what_is_missing_fails() {
    let (elsewhere, _) = stand_in().await;
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let program = Program::start(&data_dir, &dir.path().join("log"));
    let token = token(&data_dir);
    let v2 = ("ACTIONS_CACHE_SERVICE_V2", "true");
    let (code, checks) = doctor(&[
        ("ACTIONS_RESULTS_URL", &program.url),
        v2,
        ("ACTIONS_RUNTIME_TOKEN", &token),
    ])
    .await;
    assert_eq!(status(&checks, "service"), "ok", "{checks:?}");
    assert_eq!(status(&checks, "artifacts"), "failed", "{checks:?}");
    assert_eq!(code, Some(1));
    let (code, checks) = doctor(&[
        ("ACTIONS_RESULTS_URL", &elsewhere),
        v2,
        ("ACTIONS_RUNTIME_TOKEN", &token),
    ])
    .await;
    assert_eq!(status(&checks, "override"), "failed", "{checks:?}");
    assert_eq!(code, Some(1));
    let (code, checks) = doctor(&[]).await;
    assert_eq!(status(&checks, "variables"), "failed", "{checks:?}");
    assert_eq!(code, Some(1));
    program.end();
}
