//! Gateways and daemons that are killed, and what starts on their state afterwards.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::Fixture;
use crate::{
    harness::{Api, BUILD, Build, Process, SOON},
    proxy::{Fault, Operation, Rule, Subject, When},
};

/// What a shell would say of a program that SIGKILL has ended.
const KILLED: i32 = 128 + 9;

/// How soon a client whose daemon is gone must know.
const AT_ONCE: Duration = Duration::from_secs(20);

#[test]
fn a_gateway_that_is_killed_during_an_export() {
    let mut fixture = Fixture::new();
    let mut client = exporting(&fixture);
    killed(&mut fixture, &mut client);
}

#[test]
fn a_gateway_that_is_killed_during_an_import() {
    let mut fixture = Fixture::new();
    let mut client = importing(&fixture);
    killed(&mut fixture, &mut client);
}

fn killed(fixture: &mut Fixture, client: &mut Process) {
    fixture.daemon.process.signal(Signal::KILL);
    fixture.daemon.process.wait(SOON);
    assert!(!client.wait(AT_ONCE).success());
    fixture.nothing_in_spool();
    fixture.restart();
    fixture.works("after");
}

#[test]
fn a_buildkitd_that_is_killed_takes_its_gateway_along() {
    let mut fixture = Fixture::new();
    let mut exporting = exporting(&fixture);
    let mut importing = importing(&fixture);
    let [buildkitd] = fixture.daemon.process.children()[..] else {
        panic!("children: {:?}", fixture.daemon.process.children());
    };
    let killed = Instant::now();
    kill_process(buildkitd, Signal::KILL).expect("buildkitd runs");
    for client in [&mut exporting, &mut importing] {
        assert!(!client.wait(AT_ONCE).success());
    }
    println!("clients knew after {:?}", killed.elapsed());
    assert_eq!(fixture.daemon.process.wait(SOON).code(), Some(KILLED));
    fixture.nothing_in_spool();
    fixture.restart();
    fixture.works("after");
}

/// A build whose export hangs.
fn exporting(fixture: &Fixture) -> Process {
    let context = fixture.layers("exporting");
    let hang = Rule::new(Fault::Hang, When::Always).on(Operation::Create);
    let hang = fixture.proxy.rule(hang.about(Subject::Layer));
    let build = Build::new(&context).to(fixture.gha(",mode=max,scope=exporting"));
    let mut client = fixture.builder().start(&build);
    client.until("an upload", BUILD, |_| (hang.hits() > 0).then_some(()));
    client
}

/// A build whose import hangs in the middle of a layer.
fn importing(fixture: &Fixture) -> Process {
    let context = fixture.layers("importing");
    let cache = fixture.site.gha(Api::V2, ",mode=max,scope=importing");
    let builder = fixture.builder();
    builder.build(&Build::new(&context).to(cache)).ok();
    builder.prune();
    let stall = Rule::new(Fault::StallAnswer, When::Always).on(Operation::Read);
    let stall = fixture.proxy.rule(stall.about(Subject::Layer));
    let import = Build::new(&context).from(fixture.gha(",scope=importing"));
    let mut client = builder.start(&import.tar(fixture.site.tar("never")));
    client.until("a pull", BUILD, |_| (stall.hits() > 0).then_some(()));
    client
}
