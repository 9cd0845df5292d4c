//! Stock BuildKit against our Actions cache: a peer that we did not write.

use crate::harness::{Api, Build, Builder, Daemon, Site};

#[test]
fn stock_writes_and_reads_v1() {
    stock_writes_and_reads(Api::V1);
}

#[test]
fn stock_writes_and_reads_v2() {
    stock_writes_and_reads(Api::V2);
}

fn stock_writes_and_reads(api: Api) {
    let site = Site::new();
    let daemon = Daemon::stock(&site.lab, "buildkitd");
    let builder = Builder::buildctl(&daemon);
    let build = Build::new(&site.context);

    let export = build.clone().to(site.gha(api, ",mode=max"));
    builder
        .build(&export.tar(site.tar("exported")))
        .ok()
        .none_cached();
    builder.prune();
    let import = build.from(site.gha(api, ""));
    builder
        .build(&import.tar(site.tar("imported")))
        .ok()
        .all_cached();
    site.same("exported", "imported");
}
