//! Stock BuildKit and the gateway share one cache: the same keys, the same scope, either way.

use crate::harness::{Api, Build, Builder, Daemon, Site};

#[test]
fn each_reads_what_the_other_wrote() {
    let site = Site::new();
    let stock = Daemon::stock(&site.lab, "stock");
    let gateway = Daemon::gateway(&site.lab, "gateway");
    let stock = &Builder::buildctl(&stock);
    let gateway = &Builder::buildctl(&gateway);
    for api in [Api::V1, Api::V2] {
        for (name, writer, reader) in [("stock", stock, gateway), ("ours", gateway, stock)] {
            let scope = format!(",scope={name}-{api:?}");
            let cache = site.gha(api, &format!("{scope},mode=max"));
            writer.prune();
            reader.prune();
            let build = Build::new(&site.context);
            let export = build
                .clone()
                .to(cache)
                .tar(site.tar(&format!("{name}-{api:?}")));
            writer.build(&export).ok().none_cached();
            let read = format!("{name}-{api:?}-read");
            let import = build.from(site.gha(api, &scope)).tar(site.tar(&read));
            reader.build(&import).ok().all_cached();
            site.same(&format!("{name}-{api:?}"), &read);
        }
    }
}

/// A scope that both write: each finds the steps of the other, and adds its own.
#[test]
fn both_write_one_scope() {
    let site = Site::new();
    let stock = Daemon::stock(&site.lab, "stock");
    let gateway = Daemon::gateway(&site.lab, "gateway");
    let stock = Builder::buildctl(&stock);
    let gateway = Builder::buildctl(&gateway);
    let export = site.gha(Api::V2, ",mode=max");
    let both = Build::new(&site.context)
        .from(site.gha(Api::V2, ""))
        .to(export);

    let first = both.clone().tar(site.tar("1"));
    stock.build(&first).ok().none_cached();
    gateway
        .build(&both.clone().tar(site.tar("2")))
        .ok()
        .all_cached();
    stock.prune();
    stock.build(&both.tar(site.tar("3"))).ok().all_cached();
    site.same("1", "2");
    site.same("1", "3");
}
