//! Stock BuildKit against our Actions cache: a peer that we did not write.

use crate::harness::{Api, Build, Builder, Context, Daemon, Lab, Service, gha};

#[test]
fn stock_writes_and_reads_v1() {
    stock_writes_and_reads(Api::V1);
}

#[test]
fn stock_writes_and_reads_v2() {
    stock_writes_and_reads(Api::V2);
}

fn stock_writes_and_reads(api: Api) {
    let lab = Lab::new();
    let service = Service::start(&lab);
    let token = service.token(&["refs/heads/main=rw"]);
    let daemon = Daemon::stock(&lab, "buildkitd");
    let builder = Builder::buildctl(&daemon);
    let context = Context::multi_stage(&lab);
    let (first, second) = (lab.path("1.tar"), lab.path("2.tar"));

    let export = gha(&service, api, &token, ",mode=max");
    builder
        .build(&Build::of(&context).to(export).tar(first.clone()))
        .ok()
        .none_cached();
    builder.prune();
    let import = gha(&service, api, &token, "");
    builder
        .build(&Build::of(&context).from(import).tar(second.clone()))
        .ok()
        .all_cached();

    let read = |path| std::fs::read(path).expect("read a result");
    assert_eq!(read(first), read(second), "the same content came back");
}
