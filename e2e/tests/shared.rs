//! Builds at the same time on one daemon: they share steps, and BuildKit then reads through the
//! import of whichever came first.

use std::{
    fs,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{
    Api, BUILD, Build, Builder, Context, Daemon, Eavesdropper, Process, READY, Site, printed,
};

/// When the gateway keeps of an ended build what it has promised, and no more (ADR 42).
const OVER: Duration = Duration::from_secs(4);

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
                    let build = Build::new(context).from(from).to(to).tar(tar);
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
    let result = Build::new(&context).arg("--opt=target=result");
    let export = result.clone().to(site.gha(Api::V2, ",mode=max"));
    builder.build(&export.tar(site.tar("exported"))).ok();

    for (turn, signal) in [Signal::INT, Signal::TERM, Signal::KILL]
        .into_iter()
        .enumerate()
    {
        let second = |name: &str| builder.build(&result.clone().tar(site.tar(name))).ok();
        for joined in [true, false] {
            builder.prune();
            let name = format!("{turn}-{joined}");
            let mut first = first_build(&site, &builder, &context, "first", &name);
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

/// A build has a step of another one and is not done with it when the handle of that one tells nothing new
/// any more: what it needs, it has.
#[test]
fn a_build_goes_on_with_a_shared_step_long_after_the_build_that_found_it() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let gate = Ipv4Addr::new(127, 77, 1, 5);
    let late = format!(
        "\nFROM base AS gate\nCOPY eavesdropper /\nRUN [\"/eavesdropper\", \"listen\", \"{gate}\", \
         \"/capture\"]\nFROM kept AS late\nCOPY --from=gate /capture /\n\
         FROM kept AS early\nCOPY --from=wait /bin/sh /\n"
    );
    let context = Context::with_shell(&site.lab, "sharing", &format!("{SHARING}{late}"));
    Eavesdropper::install(&context);
    let kept = Build::new(&context).arg("--opt=target=kept");
    let kept = kept.to(site.gha(Api::V2, ",mode=max"));
    builder.build(&kept.tar(site.tar("kept"))).ok();
    builder.prune();

    let mut first = first_build(&site, &builder, &context, "early", "late");
    let late = Build::new(&context).arg("--opt=target=late");
    let mut late = builder.start(&late.tar(site.tar("late")));
    late.until("its own step runs", BUILD, |log| {
        printed(log).contains(READY).then_some(())
    });
    first.signal(Signal::KILL);
    first.wait(BUILD);
    let ended = Instant::now();
    late.until("the first build is over", BUILD, |_| {
        (ended.elapsed() > OVER).then_some(())
    });
    late.until("the gate opens", BUILD, |log| {
        Eavesdropper::end_step(gate);
        log.contains("exporting to client").then_some(())
    });
    assert!(late.wait(BUILD).success());
    let [kept, late] = ["kept", "late"].map(|name| fs::read(site.tar(name)).expect("a result"));
    let middle = kept.len() / 2;
    let random = &kept[middle..middle + 64];
    assert!(
        memchr::memmem::find(&late, random).is_some(),
        "the step was made anew"
    );
}

/// Starts the build that imports and then waits in a step of its own.
fn first_build(
    site: &Site,
    builder: &Builder,
    context: &Context,
    target: &str,
    name: &str,
) -> Process {
    let build = Build::new(context)
        .arg(format!("--opt=target={target}"))
        .arg(format!("--opt=build-arg:FIRST={name}"))
        .from(site.gha(Api::V2, ""));
    let mut process = builder.start(&build);
    process.until("the step that waits says so", BUILD, |log| {
        log.contains("\"logs\"").then_some(())
    });
    process
}
