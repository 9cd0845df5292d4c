//! A link that is slower than an export's timeout: what moves goes on, as with stock.

use crate::{
    harness::{Api, Build, Builder, Context, Daemon, Site},
    proxy::{Link, Proxy},
};

/// Two layers that do not compress.
const LAYERS: &str = "
RUN head -c 2500000 /dev/urandom > /one
RUN head -c 2500000 /dev/urandom > /two
";

/// Bytes per second: the layers take about six seconds.
const RATE: u32 = 900_000;

/// Long enough for every layer to begin, and half of what they need.
const TIMEOUT: &str = "timeout=3s";

#[test]
fn an_export_that_moves_goes_on_after_its_timeout() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let context = Context::with_shell(&site.lab, "layers", LAYERS);
    let build = Build::new(&context);
    builder.build(&build).ok();
    let link = Link {
        in_all: Some(RATE),
        ..Link::NONE
    };
    let proxy = Proxy::with_link(&site.service, link);
    let (url, token) = (proxy.url(), &site.token);
    let cache = format!("type=gha,url_v2={url},version=2,token={token},mode=max,{TIMEOUT}");
    builder.build(&build.clone().to(cache)).ok().no_warnings();
    assert_eq!(site.keys("index-").len(), 1);
    // All that was written is named.
    builder.prune();
    let import = build.from(site.gha(Api::V2, ""));
    builder.build(&import).ok().no_warnings().all_cached();
}
