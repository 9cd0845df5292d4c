//! Exports at the same time: one outlives another that it shares an upload with, and both write.

use std::thread;

use rustix::process::Signal;

use crate::harness::{Api, BUILD, Build, Builder, Context, Daemon, Site};

/// An export that takes long enough to lose its client.
const LARGE: &str = r#"
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN head -c 300000000 /dev/urandom > /large
"#;

#[test]
fn a_layer_goes_on_when_the_build_that_began_it_is_killed() {
    let site = Site::new();
    let context = Context::new(&site.lab, "large", LARGE);
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let build = |scope: &str| {
        let to = site.gha(Api::V2, &format!(",mode=max,scope={scope}"));
        Build::of(&context).to(to)
    };
    let mut first = builder.start(&build("first"));
    let mut second = builder.start(&build("second"));
    first.until("the export begins", BUILD, |log| {
        log.contains("sending cache export").then_some(())
    });
    first.signal(Signal::KILL);
    first.wait(BUILD);
    assert!(second.wait(BUILD).success(), "{}", second.log());
    assert!(!second.log().contains("left out"), "{}", second.log());
    builder.prune();
    let from = site.gha(Api::V2, ",scope=second");
    let import = Build::of(&context).from(from);
    builder.build(&import).ok().no_warnings().all_cached();
}

#[test]
fn two_exports_to_one_scope_at_once() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = &Builder::buildctl(&daemon);
    let contexts = ["one", "two"].map(|name| Context::multi_stage(&site.lab, name));
    thread::scope(|scope| {
        for context in &contexts {
            let build = Build::of(context).to(site.gha(Api::V2, ",mode=max"));
            scope.spawn(move || builder.build(&build).ok().no_warnings());
        }
    });
    assert_eq!(site.keys("index-").len(), 2);
    builder.prune();
    // The newer one counts: one of the two is whole, and the other one builds.
    let whole = contexts.iter().filter(|context| {
        let import = Build::of(context).from(site.gha(Api::V2, ""));
        let outcome = builder.build(&import).ok().no_warnings();
        outcome.dockerfile_steps().all(|step| step.cached)
    });
    assert!(whole.count() >= 1);
}
