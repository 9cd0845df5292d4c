//! `@actions/cache`, the client inside GitHub's own cache action, against our service.

use std::{fs, path::Path, process::Command, sync::Arc};

use crate::harness::{Lab, SOON, Service, command, run};

/// More than the client uploads in one piece would need, and not a multiple of anything.
const SIZE: usize = 5_000_011;

#[test]
fn the_npm_client_saves_and_restores() {
    let lab = Lab::new();
    let service = Service::start(&lab);
    let token = service.token(&["refs/heads/main=rw"]);
    let dir = lab.path("content");
    let content: Vec<u8> = (0..=250).cycle().take(SIZE).collect();
    fs::create_dir(&dir).expect("create the directory");
    fs::write(dir.join("file"), &content).expect("write the file");

    let client = |args: &[&str]| {
        let finished = run(
            &lab,
            "npm",
            client(&lab, &service, &token, &dir, args),
            SOON,
        );
        finished.ok(&format!("{args:?}"))
    };
    assert!(client(&["restore", "deps-1"]).contains("restored: miss"));
    client(&["save", "deps-1"]);
    for (key, fallback) in [("deps-1", None), ("deps-2", Some("deps-"))] {
        fs::remove_file(dir.join("file")).expect("remove the file");
        let mut args = vec!["restore", key];
        args.extend(fallback);
        assert!(client(&args).contains("restored: deps-1"), "{key}");
        assert!(
            fs::read(dir.join("file")).expect("restored") == content,
            "{key}: same bytes"
        );
    }
}

fn client(lab: &Arc<Lab>, service: &Service, token: &str, dir: &Path, args: &[&str]) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/npm/cache.mjs");
    let mut node = command(lab, "node");
    node.arg(script).args(&args[..2]).arg(dir).args(&args[2..]);
    node.env("ACTIONS_CACHE_SERVICE_V2", "true");
    node.env("ACTIONS_RESULTS_URL", service.url());
    node.env("ACTIONS_RUNTIME_TOKEN", token);
    node.env("GITHUB_WORKSPACE", lab.path(""))
        .env("RUNNER_TEMP", lab.path(""));
    node
}
