//! Builds at the same time on one daemon: they share steps, and BuildKit then reads through the
//! import of whichever came first.

use std::thread;

use rustix::process::Signal;

use crate::harness::{Api, BUILD, Build, Builder, Context, Daemon, Process, Site};

/// `kept` is what both builds want; `wait` keeps the first of them busy.
const SHARING: &str = "

FROM base AS kept
RUN mkdir /out && head -c 20000000 /dev/urandom > /out/kept && touch -d @1000000000 /out/kept /out

FROM base AS wait
ARG FIRST
RUN --mount=type=tmpfs,target=/tmp echo waiting for $FIRST && sleep 600

FROM scratch AS result
COPY --from=kept /out /

FROM scratch AS first
COPY --from=kept /out /
COPY --from=wait /bin/sh /
";

#[test]
fn two_builds_at_once() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = &Builder::buildctl(&daemon);
    let contexts = ["one", "two"].map(|name| Context::multi_stage(&site.lab, name));
    let all = |result: &str, cached: bool| {
        thread::scope(|scope| {
            for context in &contexts {
                let (site, name) = (&site, context.name());
                let tar = site.tar(&format!("{result}-{name}"));
                let to = site.gha(Api::V2, &format!(",mode=max,scope={name}"));
                let from = site.gha(Api::V2, &format!(",scope={name}"));
                scope.spawn(move || {
                    let build = Build::of(context).from(from).to(to).tar(tar);
                    let outcome = builder.build(&build).ok().no_warnings();
                    if cached {
                        outcome.all_cached();
                    }
                });
            }
        });
    };
    all("exported", false);
    builder.prune();
    all("imported", true);
    for name in ["one", "two"] {
        site.same(&format!("exported-{name}"), &format!("imported-{name}"));
    }
}

/// The first build imports and stays. The second one has no import of its own: it finds
/// them through the first, before the first is ended in one way or another or while that happens.
#[test]
fn a_build_reads_through_the_import_of_another() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let context = Context::with_shell(&site.lab, "sharing", SHARING);
    let result = Build::of(&context).arg("--opt=target=result");
    let export = result.clone().to(site.gha(Api::V2, ",mode=max"));
    builder.build(&export.tar(site.tar("exported"))).ok();

    for (turn, signal) in [Signal::INT, Signal::TERM, Signal::KILL]
        .into_iter()
        .enumerate()
    {
        let second = |name: &str| builder.build(&result.clone().tar(site.tar(name))).ok();
        for joined in [true, false] {
            builder.prune();
            let mut first = first_build(&site, &builder, &context, &format!("{turn}-{joined}"));
            if joined {
                second("second").nothing_ran();
                site.same("exported", "second");
            }
            thread::scope(|scope| {
                // It may find the steps of the first build or run them again, but not fail.
                let third = scope.spawn(|| second("third"));
                first.signal(signal);
                first.wait(BUILD);
                third
                    .join()
                    .expect("the build beside the one that was ended");
            });
        }
    }
}

/// Starts the build that imports and then waits in a step of its own.
fn first_build(site: &Site, builder: &Builder, context: &Context, name: &str) -> Process {
    let build = Build::of(context)
        .arg("--opt=target=first")
        .arg(format!("--opt=build-arg:FIRST={name}"))
        .from(site.gha(Api::V2, ""));
    let mut process = builder.start(&build);
    process.until("the step that waits says so", BUILD, |log| {
        log.contains("\"logs\"").then_some(())
    });
    process
}
