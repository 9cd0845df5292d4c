//! What the build's log shows: names as with stock's `gha`, and rows for what is done, not more.

use std::collections::BTreeSet;

use regex::Regex;

use crate::harness::{Api, Build, Builder, Daemon, SOON, Site, run};

const EXPORT: &str = "exporting to GitHub Actions Cache";
const STAND_IN: &str = "exporting cache to client directory";

#[test]
fn a_layer_is_shown_where_it_is_uploaded_and_only_there() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let export = Build::new(&site.context).to(site.gha(Api::V2, ",mode=max"));
    let first = builder.build(&export).ok().output;
    assert!(first.contains("uploading sha256:"), "{first}");
    assert!(first.contains(EXPORT), "{first}");
    let again = builder.build(&export).ok().output;
    assert!(!again.contains("uploading"), "{again}");
    for log in [first, again] {
        assert!(!log.contains("writing layer"), "{log}");
        assert!(!log.contains(STAND_IN), "{log}");
    }
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
