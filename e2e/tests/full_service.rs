//! The Actions cache has no room: nobody tries for ever, and people read why.

use regex::Regex;

use crate::harness::{Api, Build, Builder, Daemon, Site};

/// Some layers of the context fit beside what the service sets aside, and the largest does not.
const SIZE: &str = "4m";

const WORDS: &str = "disk of the cache service is full";

/// All that BuildKit's client of v2 shows of it where not even a reservation has room.
const CODE: &str = "resource_exhausted";

/// BuildKit's client of v2 repeats what it takes for a passing fault for a quarter of an hour.
#[test]
fn stock_gives_up_at_once() {
    let site = Site::with_disk(SIZE);
    let daemon = Daemon::stock(&site.lab, "stock");
    let builder = Builder::buildctl(&daemon);
    for api in [Api::V1, Api::V2] {
        let outcome = builder.build(&Build::new(&site.context).to(site.gha(api, ",mode=max")));
        assert!(!outcome.success, "its cache is fatal to stock BuildKit");
        let says = [WORDS, CODE]
            .iter()
            .any(|words| outcome.output.contains(words));
        assert!(says, "{}", outcome.output);
    }
}

#[test]
fn through_the_gateway_it_is_a_warning() {
    let site = Site::with_disk(SIZE);
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let mut first = String::new();
    for api in [Api::V1, Api::V2] {
        let export = Build::new(&site.context).to(site.gha(api, ",mode=max"));
        let warnings = builder.build(&export).ok().warnings;
        if first.is_empty() {
            first = warnings.join("\n");
        }
        let lost = |text: &String| text.contains("could not be saved");
        assert!(warnings.iter().any(lost), "{api:?}: {warnings:?}");
    }
    // The first build ran its steps, and the layers that it lost are called by them.
    let step = Regex::new(r"sha256:[0-9a-f]{64} of \[[^]]+\] (COPY|RUN) ").expect("a pattern");
    assert!(step.is_match(&first), "{first}");
    // The details of a warning.
    assert!(daemon.process.log().contains(WORDS));
    builder.prune();
    let import = Build::new(&site.context).from(site.gha(Api::V2, ""));
    builder.build(&import).ok();
}
