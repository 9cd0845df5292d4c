//! `ls`, `du`, `prune`, `verify`, `doctor` against GitHub's REST API, without a runtime token. What they do with
//! the content of indexes is in `e2e/tests/commands.rs`, on caches that builds have written.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use buildkit_gha::{digest::Digest, protocol::key};
use serde_json::Value;

use crate::{
    github::{GitHub, State, row},
    program::{Said, program, run, run_with},
};

const MAIN: &str = "refs/heads/main";
const PULL: &str = "refs/pull/7/merge";

fn blob(name: &str) -> String {
    key::blob(&Digest::sha256(name))
}

fn on(github: &GitHub, args: &[&str]) -> Said {
    let env = github.env();
    let env: Vec<_> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    run_with(args, &env)
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"))
}

/// A pull request whose index has been superseded, and layers of its own, of main and of another one.
fn github() -> GitHub {
    let rows = vec![
        row(1, &blob("a"), MAIN, 100),
        row(2, &blob("b"), PULL, 100),
        row(3, &blob("c"), "refs/pull/8/merge", 100),
        row(4, &blob("new"), "refs/pull/8/merge", 1),
        row(5, "index-app-1-00000000#1", PULL, 90),
        row(6, "index-app-1-00000000#2", PULL, 80),
        row(7, "npm-cache", MAIN, 500),
    ];
    GitHub::start(State {
        rows,
        ..State::default()
    })
}

#[test]
fn what_is_missing_is_wrong_usage() {
    for args in [
        &["ls"][..],
        &["prune", "--filter", "id=7"],
        &["prune", "--filter", "until=soon"],
        &["prune", "--dry-run", "--force"],
        &["du", "-o", "yaml"],
        &["inspect"],
    ] {
        let said = run(args);
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        assert_eq!(said.stdout, "", "{args:?}");
    }
    let said = run(&["ls"]);
    assert!(said.stderr.contains("GITHUB_TOKEN") && said.stderr.contains("BUILDKIT_GHA_TOKEN"));
}

#[test]
fn an_index_that_cannot_be_read_is_listed_with_the_reason() {
    let github = github();
    let said = on(&github, &["ls"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let row = said.stdout.lines().nth(1).unwrap();
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(cells[..5], ["app", PULL, "-", "-", "-"], "{said:?}");
    assert!(said.stderr.contains("ACTIONS_RUNTIME_TOKEN"), "{said:?}");
    let listed = json(&on(&github, &["ls", "-o", "json"]));
    let index = &listed["indexes"][0];
    assert_eq!(index["key"], "index-app-1-00000000#2");
    assert_eq!(index["superseded"], 1);
    assert!(index.get("layers").is_none(), "{index}");
    // Looking into it is what was asked for.
    for args in [&["inspect", "app"][..], &["inspect", "other"], &["verify"]] {
        let said = on(&github, args);
        assert_eq!(said.code, Some(1), "{args:?}: {said:?}");
    }
}

#[test]
fn usage_tells_what_is_not_known() {
    let used = json(&on(&github(), &["du", "-o", "json"]));
    let total = &used["total"];
    assert_eq!(total["entries"], 6);
    assert_eq!(total["live"], 1000, "the newest index: {used}");
    assert_eq!(total["unknown"], 2000, "what it may name: {used}");
    assert_eq!(total["reclaimable"], 3000, "{used}");
    assert_eq!(used["scopes"][0]["indexes_unread"], 1);
}

#[test]
fn a_prune_removes_what_no_index_can_name_and_nothing_else() {
    let github = github();
    let before = github.ids();
    let shown = on(&github, &["prune", "--dry-run", "--verbose"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(
        shown.stdout.contains("superseded by a newer index"),
        "{shown:?}"
    );
    assert_eq!(github.ids(), before, "a dry run removes nothing");
    let pruned = json(&on(&github, &["prune", "--force", "-o", "json"]));
    assert_eq!(github.ids(), [1, 2, 4, 6, 7]);
    let keys: Vec<_> = pruned["removed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["key"])
        .collect();
    assert_eq!(keys, ["index-app-1-00000000#1", blob("c").as_str()]);
    assert_eq!(pruned["reclaimed"], 2000);
    // Where its index goes, what it may have named goes.
    let said = on(&github, &["prune", "--force", "--filter", "until=2d"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(github.ids(), [4, 7]);
    let again = on(&github, &["prune", "--force"]);
    assert!(
        again.stdout.contains("Total reclaimed space: 0B"),
        "{again:?}"
    );
}

#[test]
fn a_no_removes_nothing() {
    let github = github();
    for (answer, code, left) in [("n\n", 1, 7), ("", 1, 7), ("y\n", 0, 5)] {
        let mut prune = program(&["prune"]);
        prune.envs(github.env());
        prune
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut prune = prune.spawn().unwrap();
        prune
            .stdin
            .take()
            .unwrap()
            .write_all(answer.as_bytes())
            .unwrap();
        let output = prune.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("2 entries (2kB)"), "{stderr}");
        assert!(stderr.contains("[y/N]"), "{stderr}");
        assert_eq!(output.status.code(), Some(code), "{answer:?}: {stderr}");
        assert_eq!(github.ids().len(), left);
    }
}

#[test]
fn a_token_that_may_not_delete_is_asked_once() {
    let github = github();
    github.state.lock().unwrap().read_only = true;
    let said = on(&github, &["prune", "--force"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stdout
            .contains("Resource not accessible by integration"),
        "{said:?}"
    );
    assert_eq!((github.count("DELETE"), github.ids().len()), (1, 7));
}

#[test]
fn a_refusal_is_waited_for() {
    let github = github();
    github.state.lock().unwrap().throttle = 1;
    let said = on(&github, &["ls"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(github.count("GET"), 3);
}

/// Ten thousand entries are a hundred pages. Whoever evicts one between two pages moves the others, so that one would
/// be passed over; the memory is that of the rows.
#[test]
fn ten_thousand_entries_are_listed_in_bounded_memory() {
    const DATA_KIB: u64 = 192 << 10;
    let mut rows: Vec<_> = (0..10_000)
        .map(|id| row(id, &blob(&id.to_string()), MAIN, 100))
        .collect();
    rows.push(row(20_000, "index-app-1-f921bd05#1", MAIN, 100));
    let github = GitHub::start(State {
        rows,
        evict_before_page: Some(50),
        ..State::default()
    });
    let begun = Instant::now();
    let mut limited = Command::new("sh");
    limited.env_clear().envs(github.env());
    limited.args([
        "-c",
        &format!("ulimit -d {DATA_KIB} && exec \"$0\" du -o json"),
    ]);
    limited.arg(env!("CARGO_BIN_EXE_buildkit-gha"));
    let output = limited.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let used: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(used["total"]["entries"], 10_000);
    assert_eq!(used["total"]["unknown"], 9_999_000);
    // It was begun again at page 50.
    assert_eq!(github.count("GET"), 50 + 100 + 1);
    assert!(
        begun.elapsed() < Duration::from_mins(1),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn the_doctor_names_the_cure() {
    let github = github();
    let said = on(
        &github,
        &[
            "doctor",
            "-o",
            "json",
            "--addr",
            "unix:///does/not/exist.sock",
        ],
    );
    assert_eq!(said.code, Some(1), "{said:?}");
    let checks = json(&said)["checks"].clone();
    let check = |name: &str| {
        let mut checks = checks.as_array().unwrap().iter();
        checks.find(|check| check["name"] == name).unwrap().clone()
    };
    assert_eq!(check("buildkitd")["status"], "failed");
    assert!(
        check("buildkitd")["cure"]
            .as_str()
            .unwrap()
            .contains("gateway")
    );
    assert_eq!(check("token")["status"], "skipped");
    assert_eq!(check("rest api")["status"], "ok");
    assert!(
        check("rest api")["detail"]
            .as_str()
            .unwrap()
            .contains("2 indexes")
    );
    let nobody = run_with(
        &["doctor"],
        &[
            ("GITHUB_TOKEN", "t"),
            ("GITHUB_REPOSITORY", "owner/repo"),
            ("GITHUB_API_URL", "http://127.0.0.1:9/"),
            ("SSL_CERT_FILE", "/does/not/exist.pem"),
        ],
    );
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    for part in ["check the URL", "SSL_CERT_FILE=/does/not/exist.pem", "-> "] {
        assert!(nobody.stdout.contains(part), "{part}: {nobody:?}");
    }
}
