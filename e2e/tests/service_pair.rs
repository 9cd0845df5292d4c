//! A cache service is a URL and the token for it. A build that could name one of the two for the
//! operator's other would have the token sent wherever it likes.

use std::fs;

use crate::{
    attack::tokens::signature,
    harness::{Api, Build, Builder, Daemon, Repeater, Site},
};

#[test]
fn the_operators_token_goes_to_no_url_that_a_build_names() {
    let site = Site::new();
    let file = site.lab.path("token");
    fs::write(&file, &site.token).expect("write the token");
    let builds_own = site.service.token_of("some/body", &["refs/heads/x=rw"]);
    let file = file.display().to_string();
    for (name, variable, value) in [
        ("variable", "BUILDKIT_GHA_TOKEN", site.token.as_str()),
        ("file", "BUILDKIT_GHA_TOKEN_FILE", &file),
    ] {
        let gateway = Daemon::gateway_with(&site.lab, name, |gateway| {
            gateway.env(variable, value);
        });
        let builder = Builder::buildctl(&gateway);
        let elsewhere = Repeater::start();
        let mut told = vec![gateway.process.log()];
        for (attribute, token) in [
            ("url", "x"),
            ("url_v2", "x"),
            ("url_v2", builds_own.as_str()),
        ] {
            let url = elsewhere.url();
            let cache = format!("type=gha,{attribute}={url},token={token},mode=max");
            let build = Build::new(&site.context).from(cache.clone()).to(cache);
            told.push(builder.build(&build).ok().warnings.join("\n"));
        }
        let heard = elsewhere.heard();
        let sent = |token| heard.contains(signature(token));
        assert!(!sent(&site.token), "the operator's token was sent there");
        assert!(sent(&builds_own), "the build's own token is used");
        let said = format!("{variable} is set without BUILDKIT_GHA_URL");
        for told in told {
            assert!(
                told.contains(&said),
                "at the start and in each build: {told}"
            );
        }
    }
}

#[test]
fn a_builds_token_goes_to_no_url_that_it_does_not_name() {
    let site = Site::new();
    let elsewhere = Repeater::start();
    let gateway = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_URL", elsewhere.url());
    });
    let cache = site.gha(Api::V2, ",mode=max");
    let build = Build::new(&site.context).from(cache.clone()).to(cache);
    let warnings = Builder::buildctl(&gateway).build(&build).ok().warnings;
    assert!(elsewhere.heard().is_empty(), "nothing was sent there");
    assert_eq!(site.keys("index-").len(), 1, "the build's own pair is used");
    let said = "BUILDKIT_GHA_URL is set without BUILDKIT_GHA_TOKEN";
    for told in [gateway.process.log(), warnings.join("\n")] {
        assert!(told.contains(said), "at the start and in the build: {told}");
    }
}
