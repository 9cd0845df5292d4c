//! A token in a file is in nobody's `docker inspect` and may change while the builder lives.

use std::fs;

use crate::harness::{Build, Builder, Daemon, Site};

/// An entry as buildx lets it pass: it must name some service and some token.
const ENTRY: &str = "type=gha,url=http://127.0.0.1:9/,token=x";

#[test]
fn the_file_is_read_again_for_each_build() {
    let site = Site::new();
    let file = site.lab.path("token");
    let gateway = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_URL", site.service.url());
        gateway.env("BUILDKIT_GHA_TOKEN_FILE", &file);
    });
    let builder = Builder::buildctl(&gateway);
    let export = Build::new(&site.context).to(format!("{ENTRY},mode=max"));

    let without = builder.build(&export).ok();
    let [warning] = &without.warnings[..] else {
        panic!("{:?}", without.warnings)
    };
    assert!(warning.contains("BUILDKIT_GHA_TOKEN_FILE"), "{warning}");
    assert_eq!(site.keys(""), Vec::<String>::new());

    fs::write(&file, format!("{}\n", site.token)).expect("write the token");
    builder.build(&export).ok().no_warnings();
    assert!(!site.keys("index-").is_empty());
}
