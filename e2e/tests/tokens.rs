//! No token and no signed URL may stay anywhere: not in buildkitd's history, not in its state, not
//! in a spool, not in a log, not in what the client shows.

use std::{fs, path::Path};

use regex::bytes::Regex;

use crate::harness::{Api, Build, Builder, Daemon, Repeater, SOON, Secret, Site, files_with, run};

/// The variables that make buildx speak v1.
const V1: &[&str] = &["ACTIONS_CACHE_URL"];

/// The variables that make buildx speak v2; of the first any value does.
const V2: &[&str] = &["ACTIONS_CACHE_SERVICE_V2", "ACTIONS_RESULTS_URL"];

/// What signed URLs of our service hold, and nothing else does.
const SIGNED_URL: &str = "sig=[A-Za-z0-9_-]{43}";

/// A URL below a handle, and any token of three parts: the gateway's own are such.
const HANDLE: &str = "/[0-9a-f]{32}/(_apis|objects)/|eyJ[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_-]{8,}\\.";

#[test]
fn no_token_stays_anywhere() {
    let site = Site::with(|service| {
        service.env("BUILDKIT_GHA_LOG", "trace");
    });
    let stock = Daemon::stock(&site.lab, "stock");
    let gateway = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_LOG", "trace");
    });
    for (name, daemon) in [("stock", &stock), ("ours", &gateway)] {
        let builder = Builder::remote(daemon, name);
        for (scope, variables) in [("v1", V1), ("v2", V2)] {
            // As in CI, where buildx finds the token and the service in its environment.
            let mut build = Build::new(&site.context)
                .from(format!("type=gha,scope={scope}"))
                .to(format!("type=gha,scope={scope},mode=max"))
                .env("ACTIONS_RUNTIME_TOKEN", &site.token);
            for variable in variables {
                build = build.env(variable, &site.service.url());
            }
            builder.build(&build).ok();
            builder.prune();
            builder.build(&build).ok().all_cached();
        }
        // Clients record their command line in the trace that they hand to buildkitd.
        let written = Build::new(&site.context).to(site.gha(Api::V2, ",scope=written"));
        Builder::buildctl(daemon).build(&written).ok();
        builder.build(&written).ok();
    }
    // What people see of a build long after it: standard output goes to a log.
    let mut inspect = Builder::remote(&gateway, "inspect").buildx();
    inspect.args([
        "history",
        "inspect",
        "--builder",
        "inspect",
        "--format=json",
    ]);
    run(&site.lab, "history", inspect, SOON).ok("buildx history inspect");

    // The signature alone would be enough to make the token again.
    let token = Secret::new(signature(&site.token));
    assert!(
        !files_with(stock.root(), &token).is_empty(),
        "the search finds what stock BuildKit leaves"
    );
    assert_eq!(files_with(gateway.root(), &token), Vec::<String>::new());
    quiet(&site, &token);
    let signed = Regex::new(SIGNED_URL).expect("a pattern");
    let url = site.service.signed_url(&site.token, "index-v2-");
    assert!(signed.is_match(url.as_bytes()), "the search knows {url}");
    assert_eq!(logs_with(&site, &signed), Vec::<String>::new());
    assert_eq!(matches(gateway.root(), &signed), Vec::<String>::new());
    // buildkitd keeps the attributes of a build, so it keeps the handle: it is closed by then.
    let handle = Regex::new(HANDLE).expect("a pattern");
    assert_ne!(matches(gateway.root(), &handle), Vec::<String>::new());
    assert_eq!(logs_with(&site, &handle), Vec::<String>::new());
}

/// Exports that BuildKit makes itself hand tokens and URLs on in another way.
#[test]
fn a_relayed_export_leaves_no_token() {
    let site = Site::new();
    let config = site.lab.path("buildkitd.toml");
    fs::write(&config, "[cache.gha.verify]\nrequired = true\n").expect("write a file");
    let gateway = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_LOG", "trace");
        gateway.arg("--config").arg(&config);
    });
    let builder = Builder::buildctl(&gateway);
    let build = Build::new(&site.context).from(site.gha(Api::V2, ""));
    builder
        .build(&build.to(site.gha(Api::V2, ",mode=max")))
        .ok();
    assert!(!site.keys("index-").is_empty(), "the export was made");
    let token = Secret::new(signature(&site.token));
    assert_eq!(files_with(gateway.root(), &token), Vec::<String>::new());
    quiet(&site, &token);
    let signed = Regex::new(SIGNED_URL).expect("a pattern");
    assert_eq!(logs_with(&site, &signed), Vec::<String>::new());
}

/// Error pages repeat what they were asked; people then paste a build's log into an issue.
#[test]
fn what_a_service_repeats_is_not_shown() {
    let site = Site::new();
    let gateway = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_LOG", "trace");
    });
    let repeater = Repeater::start();
    let builder = Builder::buildctl(&gateway);
    for attribute in ["url_v2", "url"] {
        let (url, token) = (repeater.url(), &site.token);
        let cache = format!("type=gha,{attribute}={url},token={token},scope={attribute}");
        let build = Build::new(&site.context).from(cache.clone()).to(cache);
        builder.build(&build).ok();
    }
    let secrets = [
        Secret::new(signature(&site.token)),
        Secret::new(Repeater::SIGNATURE),
    ];
    for needle in [signature(&site.token), Repeater::SIGNATURE] {
        assert!(repeater.heard().contains(needle), "it has it to repeat");
    }
    assert!(
        gateway.process.log().contains("cannot do"),
        "the service's words are shown: {}",
        gateway.process.log()
    );
    for secret in &secrets {
        quiet(&site, secret);
        assert_eq!(files_with(gateway.root(), secret), Vec::<String>::new());
    }
}

#[test]
fn buildkitd_gets_no_token_in_its_environment() {
    let site = Site::new();
    let gateway = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        for name in [
            "BUILDKIT_GHA_TOKEN",
            "ACTIONS_RUNTIME_TOKEN",
            "GITHUB_TOKEN",
        ] {
            gateway.env(name, &site.token);
        }
        gateway.env("NO_SECRET", "passed on");
    });
    let environments = gateway.process.environments_of_children();
    assert_eq!(environments.len(), 1, "buildkitd");
    assert!(environments[0].contains("NO_SECRET=passed on"));
    assert!(!environments[0].contains(&site.token));
}

fn signature(token: &str) -> &str {
    token.rsplit('.').next().expect("a JWT has three parts")
}

/// Fails if a log, or what a client showed, holds the secret.
fn quiet(site: &Site, secret: &Secret) {
    let mut logs = files_with(&site.lab.path("logs"), secret);
    logs.retain(|log| !log.contains("/token-stdout-")); // where the token was made
    assert_eq!(logs, Vec::<String>::new());
}

/// The logs that hold the pattern, each with what it found.
fn logs_with(site: &Site, pattern: &Regex) -> Vec<String> {
    let mut found = matches(&site.lab.path("logs"), pattern);
    found.retain(|log| !log.contains("/token-stdout-"));
    found
}

fn matches(dir: &Path, pattern: &Regex) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("read a directory") {
        let path = entry.expect("read a directory").path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            found.extend(matches(&path, pattern));
        } else if path.is_file() {
            let content = fs::read(&path).expect("read a file");
            let shown = pattern
                .find(&content)
                .map(|hit| String::from_utf8_lossy(hit.as_bytes()).into_owned());
            found.extend(shown.map(|hit| format!("{}: {hit}", path.display())));
        }
    }
    found
}
