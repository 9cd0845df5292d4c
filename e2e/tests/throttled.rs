//! A service that throttles: the build succeeds, and its log shows the wait.

use crate::{
    harness::{Build, Builder, Daemon, Outcome, Site},
    proxy::{Fault, Operation, Proxy, Rule, Subject, When},
};

/// What the proxy asks for.
const SECONDS: u32 = 3;

/// A row of the build's log for a wait of [`SECONDS`], stretched a little by chance.
fn shows_the_wait(outcome: &Outcome, call: &str) -> bool {
    let row = regex::Regex::new(&format!(
        r"waiting [23]\.\d s to {call}: the service said: injected by the test: too many"
    ));
    row.expect("a regular expression").is_match(&outcome.output)
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
