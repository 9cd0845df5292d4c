//! Gateways and daemons that are killed, and what starts on their state afterwards.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::Bed;
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
    let mut bed = Bed::new();
    let mut client = exporting(&bed);
    killed(&mut bed, &mut client);
}

#[test]
fn a_gateway_that_is_killed_during_an_import() {
    let mut bed = Bed::new();
    let mut client = importing(&bed);
    killed(&mut bed, &mut client);
}

fn killed(bed: &mut Bed, client: &mut Process) {
    bed.daemon.process.signal(Signal::KILL);
    bed.daemon.process.wait(SOON);
    assert!(!client.wait(AT_ONCE).success());
    bed.nothing_in_spool();
    bed.restart();
    bed.works("after");
}

#[test]
fn a_buildkitd_that_is_killed_takes_its_gateway_along() {
    let mut bed = Bed::new();
    let mut exporting = exporting(&bed);
    let mut importing = importing(&bed);
    let [buildkitd] = bed.daemon.process.children()[..] else {
        panic!("children: {:?}", bed.daemon.process.children());
    };
    let killed = Instant::now();
    kill_process(buildkitd, Signal::KILL).expect("buildkitd runs");
    for client in [&mut exporting, &mut importing] {
        assert!(!client.wait(AT_ONCE).success());
    }
    println!("clients knew after {:?}", killed.elapsed());
    assert_eq!(bed.daemon.process.wait(SOON).code(), Some(KILLED));
    bed.nothing_in_spool();
    bed.restart();
    bed.works("after");
}

/// A build whose export hangs.
fn exporting(bed: &Bed) -> Process {
    let context = bed.layers("exporting");
    let hang = Rule::new(Fault::Hang, When::Always).on(Operation::Create);
    let hang = bed.proxy.rule(hang.of(Subject::Layer));
    let build = Build::of(&context).to(bed.gha(",mode=max,scope=exporting"));
    let mut client = bed.builder().start(&build);
    client.until("an upload", BUILD, |_| (hang.hits() > 0).then_some(()));
    client
}

/// A build whose import hangs in the middle of a layer.
fn importing(bed: &Bed) -> Process {
    let context = bed.layers("importing");
    let cache = bed.site.gha(Api::V2, ",mode=max,scope=importing");
    let builder = bed.builder();
    builder.build(&Build::of(&context).to(cache)).ok();
    builder.prune();
    let stall = Rule::new(Fault::StallAnswer, When::Always).on(Operation::Read);
    let stall = bed.proxy.rule(stall.of(Subject::Layer));
    let import = Build::of(&context).from(bed.gha(",scope=importing"));
    let mut client = builder.start(&import.tar(bed.site.tar("never")));
    client.until("a pull", BUILD, |_| (stall.hits() > 0).then_some(()));
    client
}
