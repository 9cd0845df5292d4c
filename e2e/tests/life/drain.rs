//! The end of a gateway that is asked for: builds in flight are finished, for a while.

use std::process::ExitStatus;

use rustix::process::Signal;

use super::{Fixture, shows};
use crate::{
    harness::{Api, BUILD, Build, Builder, Context, Daemon, Process, SOON, Site},
    proxy::{Fault, Operation, Rule, Subject, When},
};

/// What a shell would say of a program that SIGKILL has ended.
const KILLED: i32 = 128 + 9;

/// A first step that takes a while, and another one after it.
const STEPS: &str = "
RUN sleep 5
RUN head -c 300000 /dev/urandom > /large
";

#[test]
fn an_export_is_finished_before_the_end() {
    let mut fixture = Fixture::new();
    let context = fixture.layers("drained");
    let cache = fixture.gha(",mode=max,scope=drained");
    let slow = Rule::new(Fault::Throttled(Some(6)), When::First(1)).on(Operation::Create);
    let slow = fixture.proxy.rule(slow.about(Subject::Layer));
    let mut client = fixture.builder().start(&Build::new(&context).to(cache));
    client.until("an upload", BUILD, |_| (slow.hits() > 0).then_some(()));
    fixture.daemon.process.signal(Signal::TERM);
    shows(
        &mut fixture.daemon.process,
        "waiting for 1 build, 1 cache export",
    );

    let refused = fixture.builder().build(&Build::new(&fixture.site.context));
    assert!(!refused.success);
    assert!(
        refused.output.contains("takes no new builds"),
        "{}",
        refused.output
    );
    assert!(client.wait(BUILD).success(), "{}", client.log());
    assert_eq!(
        end(&mut fixture.daemon).code(),
        Some(1),
        "as buildkitd ends"
    );
    assert_eq!(fixture.site.keys("index-drained").len(), 1);
    fixture.nothing_in_spool();
}

#[test]
fn a_build_that_has_only_begun_is_finished_too() {
    let site = Site::new();
    let mut daemon = Daemon::gateway(&site.lab, "gateway");
    let context = Context::with_shell(&site.lab, "steps", STEPS);
    let tar = site.tar("drained");
    let build = Build::new(&context).to(site.gha(Api::V2, ",mode=max"));
    let mut client = Builder::remote(&daemon, "drained").start(&build.tar(tar));
    shows(&mut client, "sleep 5");
    daemon.process.signal(Signal::TERM);
    assert!(client.wait(BUILD).success(), "{}", client.log());
    assert_eq!(end(&mut daemon).code(), Some(1));
    assert_eq!(site.keys("index-").len(), 1);
}

#[test]
fn a_drain_that_is_too_short_says_what_is_lost() {
    cut_off("1s", |_| (), "they did not end within 1s");
}

#[test]
fn a_second_signal_ends_at_once() {
    let again = |gateway: &mut Process| {
        shows(gateway, "waiting for 1 build, 1 cache export");
        gateway.signal(Signal::TERM);
    };
    cut_off("10m", again, "another signal came");
}

/// Ends a gateway during an export that never ends, and starts it again.
fn cut_off(drain: &str, then: impl FnOnce(&mut Process), why: &str) {
    let mut fixture = Fixture::with(&Site::new, |gateway| {
        gateway.env("BUILDKIT_GHA_DRAIN", drain);
    });
    let context = fixture.layers("hanging");
    let hang = Rule::new(Fault::Hang, When::Always).on(Operation::Create);
    let hang = fixture.proxy.rule(hang.about(Subject::Layer));
    let build = Build::new(&context).to(fixture.gha(",mode=max,scope=hanging"));
    let mut client = fixture.builder().start(&build);
    client.until("an upload", BUILD, |_| (hang.hits() > 0).then_some(()));
    fixture.daemon.process.signal(Signal::TERM);
    then(&mut fixture.daemon.process);
    assert_eq!(end(&mut fixture.daemon).code(), Some(KILLED));
    let lost = format!("{why}: 1 build, 1 cache export are cut off");
    let log = fixture.daemon.process.log();
    assert!(log.contains(&lost), "{log}");
    assert!(!client.wait(SOON).success());
    fixture.nothing_in_spool();
    fixture.restart();
    fixture.works("after");
}

#[test]
fn a_gateway_in_front_of_another_daemon_drains_too() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "behind");
    let mut front = Daemon::in_front_of(&daemon, "front", |_| ());
    let context = Context::with_shell(&site.lab, "steps", STEPS);
    let build = Build::new(&context).to(site.gha(Api::V2, ",mode=max"));
    let mut client = Builder::buildctl(&front).start(&build);
    shows(&mut client, "sleep 5");
    front.process.signal(Signal::INT);
    assert!(client.wait(BUILD).success(), "{}", client.log());
    assert_eq!(end(&mut front).code(), Some(0));
    assert_eq!(site.keys("index-").len(), 1);
}

fn end(daemon: &mut Daemon) -> ExitStatus {
    daemon.process.wait(SOON)
}
