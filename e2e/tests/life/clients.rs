//! Clients that are killed, or that stop, while their caches are exported and imported.

use std::time::Duration;

use rustix::process::Signal;

use super::{Fixture, holds, shows};
use crate::{
    harness::{BUILD, Build, Process, SOON},
    proxy::{Fault, Operation, Rule, Subject, When},
};

#[test]
fn a_client_that_is_killed_during_uploads() {
    let mut fixture = Fixture::new();
    for (turn, signal) in [Signal::KILL, Signal::INT].into_iter().enumerate() {
        let context = fixture.layers(&format!("hanging-{turn}"));
        // Its uploads have begun and hang; then also when all that is missing is their end.
        for held in [false, true] {
            fixture.beside(|| {
                let hang = Rule::new(Fault::Hang, When::Always).on(Operation::PutBlob);
                let hang = fixture.proxy.rule(hang.about(Subject::Layer));
                let cache = fixture.gha(&format!(",mode=max,scope=killed-{turn}-{held}"));
                let build = Build::new(&context).to(cache).arg("--no-cache");
                let mut client = fixture.builder().start(&build);
                if held {
                    holds(&mut client);
                } else {
                    client.until("an upload", BUILD, |_| (hang.hits() > 0).then_some(()));
                }
                kill(&mut client, signal);
                fixture.proxy.clear();
            });
            assert!(fixture.site.keys("index-killed").is_empty());
        }
    }
    fixture.works("after");
}

#[test]
fn a_client_that_is_killed_at_any_moment_of_an_export() {
    let mut fixture = Fixture::new();
    let context = fixture.layers("any");
    fixture.beside(|| {
        for milliseconds in [0, 20, 50, 90, 150, 300] {
            let build = Build::new(&context).to(fixture.gha(",mode=max,scope=any"));
            let mut client = fixture.builder().start(&build.arg("--no-cache"));
            shows(&mut client, "exporting to GitHub Actions Cache");
            // The moment is what is tried, not what is waited for.
            client.ended_within(Duration::from_millis(milliseconds));
            kill(&mut client, Signal::KILL);
        }
    });
    fixture.works("after");
}

/// A pull that is cut must not leave half a record: BuildKit's own `local` importer does, and
/// every later build of that daemon fails with "parent snapshot does not exist" after a prune.
#[test]
fn a_client_that_is_killed_during_a_pull() {
    let mut fixture = Fixture::new();
    let context = fixture.layers("pulled");
    let cache = fixture.gha(",mode=max,scope=pulled");
    let builder = fixture.builder();
    let export = Build::new(&context)
        .to(&cache)
        .tar(fixture.site.tar("exported"));
    builder.build(&export).ok().no_warnings();
    let import = Build::new(&context)
        .from(&cache)
        .tar(fixture.site.tar("imported"));

    for signal in [Signal::KILL, Signal::INT] {
        builder.prune();
        fixture.beside(|| {
            let stall = Rule::new(Fault::StallAnswer, When::Always).on(Operation::Read);
            let stall = fixture.proxy.rule(stall.about(Subject::Layer));
            let mut client = builder.start(&import);
            client.until("a pull", BUILD, |_| (stall.hits() > 0).then_some(()));
            kill(&mut client, signal);
            fixture.proxy.clear();
        });
        fixture.idle.come_back(&mut fixture.daemon.process);
        builder.prune();
        builder.build(&import).ok().no_warnings().all_cached();
        fixture.site.same("exported", "imported");
        // And once more without what was pulled now.
        builder.prune();
        builder.build(&import).ok().no_warnings().all_cached();
    }
    fixture.works("after");
}

/// A client that has stopped reads nothing and answers nothing, and yet it is there.
#[test]
fn a_client_that_stops() {
    let mut fixture = Fixture::new();
    let context = fixture.layers("stopped");
    fixture.beside(|| {
        let hang = Rule::new(Fault::Hang, When::Always).on(Operation::Create);
        let hang = fixture.proxy.rule(hang.about(Subject::Layer));
        let build = Build::new(&context).to(fixture.gha(",mode=max,scope=stopped"));
        let mut client = fixture.builder().start(&build);
        client.until("an upload", BUILD, |_| (hang.hits() > 0).then_some(()));
        client.signal(Signal::STOP);
        // Long enough for builds beside it; then it is gone for good.
        client.ended_within(Duration::from_secs(5));
        kill(&mut client, Signal::KILL);
        fixture.proxy.clear();
    });
    fixture.works("after");
}

fn kill(client: &mut Process, signal: Signal) {
    client.signal(signal);
    client.wait(SOON);
}
