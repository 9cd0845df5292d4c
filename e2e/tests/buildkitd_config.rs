//! `$BUILDKITD_CONFIG`, which buildkitd reads since v0.34: the gateway takes from that file what it
//! takes from one that `--config` names.

use std::fs;

use crate::harness::{Api, Build, Builder, Daemon, Site};

/// With it buildkitd names its indexes as signed ones.
const VERIFY: &str = "[cache.gha.verify]\nrequired = true\n";

#[test]
fn address_root_and_signing_are_those_of_the_file() {
    let site = Site::new();
    for (name, gateway) in [("stock", false), ("ours", true)] {
        // No flag says any of this.
        let daemon = Daemon::by_variable(&site.lab, name, gateway, VERIFY);
        let cache = site.gha(Api::V2, &format!(",mode=max,scope={name}"));
        let builder = Builder::buildctl(&daemon);
        builder.build(&Build::new(&site.context).to(cache)).ok();
        let keys = site.keys(&format!("index-{name}-"));
        assert_eq!(keys.len(), 1, "{name}: {keys:?}");
        assert!(keys[0].ends_with("-sig#1"), "{name}: {keys:?}");
        let state = fs::read_dir(daemon.root()).expect("the root of the file is used");
        assert!(state.count() > 0, "{name}");
    }
}
