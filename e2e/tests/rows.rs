//! What the build's log shows: names as with stock's `gha`, and rows for what is done, not more.

use std::collections::BTreeSet;

use regex::Regex;

use crate::{
    harness::{Api, Build, Builder, Daemon, Outcome, SOON, Site, run},
    proxy::{Fault, Operation, Proxy, Rule, Subject, When},
};

/// Rows of ours that a step may have.
const MOST_ROWS: usize = 8;

const OWN: &str = "GitHub Actions Cache";
const EXPORT: &str = "exporting to GitHub Actions Cache";
const STAND_IN: &str = "exporting cache to client directory";

/// Fails unless just one row below the step is of this form.
fn says(outcome: &Outcome, step: &str, form: &str) {
    let rows = outcome.rows(step);
    let form = Regex::new(&format!("^{form}$")).expect("a pattern");
    let count = rows.iter().filter(|row| form.is_match(row)).count();
    assert_eq!(count, 1, "{form}: {rows:?}");
}

#[test]
fn layers_are_one_row_where_they_are_uploaded_and_the_end_is_one_line() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let export = Build::new(&site.context).to(site.gha(Api::V2, ",mode=max"));
    let first = builder.build(&export).ok();
    let rows = first.rows(EXPORT);
    assert!(rows.contains(&"uploading layers"), "{rows:?}");
    assert!(rows.len() <= MOST_ROWS, "{rows:?}");
    let sent = r"cache written: \d+ layers sent \(\d.* [kM]B at \d.*B/s\), 0 already there, 0 left out; \d+ calls";
    says(&first, EXPORT, sent);
    let again = builder.build(&export).ok();
    let rows = again.rows(EXPORT);
    assert!(
        !rows.iter().any(|row| row.contains("uploading")),
        "{rows:?}"
    );
    let unchanged = r"cache unchanged: 0 layers sent, \d+ already there, 0 left out; \d+ calls?";
    says(&again, EXPORT, unchanged);
    for outcome in [first, again] {
        let log = outcome.output;
        assert!(!log.contains("writing layer"), "{log}");
        assert!(!log.contains(STAND_IN), "{log}");
    }
}

#[test]
fn an_import_says_what_it_found_and_what_it_was_asked() {
    let site = Site::new();
    for way in ["--import=loopback", "--import=content"] {
        let daemon = Daemon::gateway_with(&site.lab, way, |gateway| {
            gateway.arg(way);
        });
        let builder = Builder::buildctl(&daemon);
        let scope = format!(",scope={}", way.trim_start_matches("--import="));
        let cache = site.gha(Api::V2, &scope);
        let build = Build::new(&site.context).from(&cache);
        let none = builder
            .build(&build.clone().to(format!("{cache},mode=max")))
            .ok();
        let scope = scope.replace(",scope=", "scope ");
        let absent = format!("{scope}: no index found on refs/heads/main");
        says(&none, OWN, &absent);
        says(&none, OWN, &format!("{scope}.*"));
        says(&none, OWN, ".*index.*");
        builder.prune();
        let warm = builder.build(&build.tar(site.tar(way))).ok().all_cached();
        let found = r"index from refs/heads/main \(less than a minute old, \d+ layers\)";
        says(&warm, OWN, &format!("{scope}: {found}"));
        let sum = r"\d+ layers confirmed, 0 gone; \d+ layers fetched \(.*\) because .*; \d+ calls";
        says(&warm, OWN, &format!("{scope}: {sum}"));
    }
}

#[test]
fn an_index_that_could_not_be_read_is_not_said_to_be_absent() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let export = Build::new(&site.context).to(site.gha(Api::V2, ",mode=max"));
    builder.build(&export).ok();
    builder.prune();
    let proxy = Proxy::start(&site.service);
    let failing = Rule::new(Fault::Status(501), When::Always).on(Operation::DownloadUrl);
    proxy.rule(failing.about(Subject::Index));
    let (url, token) = (Api::V2.attributes(&proxy.url()), &site.token);
    let import = Build::new(&site.context).from(format!("type=gha,{url},token={token}"));
    let unread = builder.build(&import).ok();
    let row = "scope buildkit: the index of refs/heads/main could not be read";
    says(&unread, OWN, row);
    says(&unread, OWN, "scope .*|.* index .*");
    assert_eq!(unread.warnings.len(), 1, "{:?}", unread.warnings);
    let index = &daemon.stats()["builds"][0]["imports"][0]["index"];
    assert_eq!(
        (&index["found"], &index["reason"]),
        (&false.into(), &"failed".into())
    );
}

#[test]
fn an_import_has_one_name_in_all_builds() {
    let site = Site::new();
    let number = Regex::new("importing cache manifest from gha:[0-9]+").expect("a pattern");
    let mut names = BTreeSet::new();
    for name in ["one", "other"] {
        let daemon = Daemon::stock(&site.lab, name);
        for way in [vec![], vec!["--import=content"]] {
            let behind = format!("{name}-{}", way.len());
            let daemon = Daemon::in_front_of(&daemon, &behind, |gateway| {
                gateway.args(way);
            });
            let builder = Builder::buildctl(&daemon);
            builder.prune();
            let cache = site.gha(Api::V2, ",mode=max");
            let build = Build::new(&site.context).to(cache.clone()).from(cache);
            let log = builder.build(&build).ok().no_warnings().output;
            let found = number
                .find_iter(&log)
                .map(|found| found.as_str().to_owned());
            names.extend(found);
        }
    }
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn the_history_has_the_names_of_the_log() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::remote(&daemon, "remote");
    let build = Build::new(&site.context).to(site.gha(Api::V2, ",mode=max"));
    builder.build(&build).ok();
    let mut logs = builder.buildx();
    logs.args(["history", "logs", "--builder", builder.name()]);
    logs.arg("--progress=plain");
    let logs = run(&site.lab, "history", logs, SOON);
    assert!(logs.status.success(), "{}", logs.stderr);
    let shown = format!("{}{}", logs.stdout, logs.stderr);
    assert!(shown.contains(EXPORT), "{shown}");
    assert!(!shown.contains(STAND_IN), "{shown}");
}
