//! A service that throttles: the build succeeds, and its log shows the wait.

use crate::{
    harness::{Build, Builder, Daemon, Outcome, Site},
    proxy::{Fault, Operation, Proxy, Rule, Subject, When},
};

const EXPORT: &str = "exporting to GitHub Actions Cache";

/// What the proxy asks for.
const SECONDS: u32 = 3;

/// Whether a row of the build's log names the wait, the export's name counts it down, and its last line has
/// it.
fn shows_the_wait(outcome: &Outcome, call: &str) -> bool {
    let rows = outcome.rows(EXPORT);
    let row = format!("waiting to {call}: the service said: injected by the test: too many");
    let sum = regex::Regex::new(r"calls, waited \d+ s for the service's rate limit$");
    let sum = sum.expect("a regular expression");
    let counts = |left| {
        let end = format!("waiting {left} s for the service's rate limit)");
        outcome
            .names()
            .any(|name| name.starts_with(EXPORT) && name.ends_with(&end))
    };
    rows.iter().any(|text| text.starts_with(&row))
        && rows.last().is_some_and(|last| sum.is_match(last))
        && counts(2)
        && counts(1)
}

#[test]
fn reservations_that_are_refused_for_a_while_are_made_after_it() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let proxy = Proxy::start(&site.service);
    let gha = |more: &str| {
        format!(
            "type=gha,url_v2={},version=2,token={}{more}",
            proxy.url(),
            site.token
        )
    };
    let throttled = Rule::new(Fault::Throttled(Some(SECONDS)), When::First(1));
    let refused = proxy.rule(throttled.on(Operation::Create).about(Subject::Layer));
    let export = Build::new(&site.context).to(gha(",mode=max"));
    let outcome = builder.build(&export).ok().no_warnings();
    assert_eq!(refused.hits(), 1);
    assert!(shows_the_wait(&outcome, "reserve"), "{}", outcome.output);
    builder.prune();
    builder
        .build(&Build::new(&site.context).from(gha("")))
        .ok()
        .no_warnings()
        .all_cached();
}
