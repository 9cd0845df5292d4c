//! Tokens of several scopes: what a pull request writes, and what a write-only token does.

use crate::{
    harness::{Build, Builder, Context, Daemon, Site},
    proxy::{Operation, Proxy},
};

/// Layers that are the same wherever they are made.
const FILES: &str = "
FROM scratch
COPY one /one
COPY two /two
";

/// More than all indexes of a test together.
const LAYER: usize = 3_000_000;

fn context(site: &Site) -> Context {
    let context = Context::new(&site.lab, "files", FILES);
    for (name, seed) in [("one", 1_u64), ("two", 2)] {
        let mut state = seed;
        let bytes = (0..LAYER).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        context.write(name, bytes.collect::<Vec<_>>());
    }
    context
}

fn cache(proxy: &Proxy, token: &str, more: &str) -> String {
    let url = proxy.url();
    format!("type=gha,url_v2={url},version=2,token={token},mode=max{more}")
}

fn stored(site: &Site, token: &str) -> u64 {
    let entries = site.service.entries(token, "");
    entries.iter().map(|entry| entry.size_in_bytes).sum()
}

/// Exports on a builder that has nothing.
fn export(site: &Site, context: &Context, name: &str, to: String) {
    let daemon = Daemon::gateway(&site.lab, name);
    let build = Build::new(context).to(to);
    Builder::buildctl(&daemon).build(&build).ok().no_warnings();
}

#[test]
fn a_pull_request_stores_nothing_that_the_default_branch_has() {
    let site = Site::new();
    let context = context(&site);
    let proxy = Proxy::start(&site.service);
    export(&site, &context, "main", cache(&proxy, &site.token, ""));
    let before = stored(&site, &site.token);
    assert!(before > 2 * LAYER as u64, "{before}");
    let pull = ["refs/pull/7/merge=rw", "refs/heads/main=r"];
    let pull = site.service.token(&pull);
    proxy.restart_tally();
    export(&site, &context, "pull", cache(&proxy, &pull, ""));
    assert_eq!(proxy.tally().reserved, 1, "the index and nothing else");
    assert!(stored(&site, &pull) < before + LAYER as u64 / 10);
    assert!(proxy.tally().up < LAYER as u64 / 10);
    // It lists its own and what it reads.
    assert_eq!(site.service.keys(&pull, "index-").len(), 2);
}

#[test]
fn a_write_only_token_stores_each_layer_once_and_waits_for_nobody() {
    let site = Site::new();
    let context = context(&site);
    let proxy = Proxy::start(&site.service);
    let writing = site.service.token(&["refs/heads/main=w"]);
    for name in ["first", "second"] {
        export(&site, &context, name, cache(&proxy, &writing, ""));
    }
    let blobs = site.keys("buildkit-blob-");
    assert!(blobs.iter().all(|key| !key.contains('#')), "{blobs:?}");
    assert_eq!(blobs.len(), 2, "{blobs:?}");
    assert_eq!(
        proxy.requests(Operation::DownloadUrl),
        0,
        "it reads nothing"
    );
}
