//! A cache for builds that name none: the operator's, exported to and imported from.

use crate::harness::{Build, Builder, Daemon, Outcome, Site};

const USED: &str = "BUILDKIT_GHA_DEFAULT_CACHE is used (mode=max,scope=app)";

#[test]
fn plain_builds_have_it_and_their_log_says_so() {
    let site = Site::new();
    let gateway = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_URL", site.service.url());
        gateway.env("BUILDKIT_GHA_TOKEN", &site.token);
        gateway.args(["--default-cache", "type=gha,scope=app,mode=max"]);
    });
    for builder in [
        Builder::buildctl(&gateway),
        Builder::remote(&gateway, "remote"),
    ] {
        let build = Build::new(&site.context);
        let plain = |build: &Build| -> Outcome { builder.build(build).ok().no_warnings() };
        let exported = plain(&build);
        assert!(exported.output.contains(USED), "{}", exported.output);
        builder.prune();
        plain(&build).all_cached();

        // A build that names one has that and no other.
        builder.prune();
        let other = format!("type=gha,url={},token=any,scope=other", site.service.url());
        let named = plain(&build.from(other)).none_cached();
        assert!(!named.output.contains(USED), "{}", named.output);
        builder.prune();
    }
    assert!(
        site.keys("index-app-").len() == 1,
        "{:?}",
        site.keys("index-")
    );
    assert_eq!(site.keys("index-other-"), Vec::<String>::new());
}
