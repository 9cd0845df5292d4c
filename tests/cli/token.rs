//! `buildkit-gha token`: what it needs, and how long tokens are good for.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::program::run;

const DAY: u64 = 24 * 60 * 60;

#[test]
fn a_directory_that_does_not_exist_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cahce");
    let dir = dir.to_str().unwrap();
    let said = run(&["token", "--data-dir", dir, "--scope", "main=rw"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(said.stdout, "");
    assert!(said.stderr.contains(dir), "{said:?}");
    assert!(!folder.path().join("cahce").exists(), "nothing was made");
}

#[test]
fn it_is_good_for_days() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let before = now().as_secs();
    let said = run(&[
        "token",
        "--data-dir",
        dir,
        "--scope=main=rw",
        "--ttl",
        "90d",
    ]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let claims = said.stdout.split('.').nth(1).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    let expires = claims["exp"].as_u64().unwrap();
    let range = before + 90 * DAY..=now().as_secs() + 90 * DAY;
    assert!(range.contains(&expires), "{claims}");
}
