//! The memory of the gateway does not grow with a layer.

use crate::harness::{Api, Build, Builder, Context, Daemon, Site};

/// One layer of 2 GiB that does not compress.
const LAYER: &str = "
RUN head -c 2147483648 /dev/urandom > /layer
FROM scratch
COPY --from=base /layer /layer
";

/// What the gateway may have at most, whatever passes through it.
const LIMIT: u64 = 256 << 20;

#[test]
fn a_layer_of_two_gigabytes() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let context = Context::with_shell(&site.lab, "layer", LAYER);
    let build = Build::new(&context);
    // The speed of gzip is not what this is about.
    let cache = site.gha(Api::V2, ",compression=uncompressed");
    builder.build(&build.clone().to(cache)).ok().no_warnings();
    let export = daemon.process.peak_memory();
    builder.prune();
    let import = build.from(site.gha(Api::V2, "")).tar(site.tar("layer"));
    builder.build(&import).ok().nothing_ran();
    let both = daemon.process.peak_memory();
    println!("peak memory of the gateway: {export} bytes after the export, {both} in all");
    assert!(both < LIMIT, "{both} bytes");
}
