//! No token may stay anywhere: not in buildkitd's history, not in its state, not in a log.

use std::{fs, path::Path};

use crate::harness::{Api, Build, Builder, Daemon, Site};

/// The variables that make buildx speak v1.
const V1: &[&str] = &["ACTIONS_CACHE_URL"];

/// The variables that make buildx speak v2; of the first any value does.
const V2: &[&str] = &["ACTIONS_CACHE_SERVICE_V2", "ACTIONS_RESULTS_URL"];

#[test]
fn no_token_stays_anywhere() {
    let site = Site::new();
    let stock = Daemon::stock(&site.lab, "stock");
    let gateway = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_LOG", "trace");
    });
    for (name, daemon) in [("stock", &stock), ("ours", &gateway)] {
        let builder = Builder::remote(daemon, name);
        for (scope, variables) in [("v1", V1), ("v2", V2)] {
            // As in CI, where buildx finds the token and the service in its environment.
            let mut build = Build::of(&site.context)
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
        let written = Build::of(&site.context).to(site.gha(Api::V2, ",scope=written"));
        Builder::buildctl(daemon).build(&written).ok();
        builder.build(&written).ok();
    }
    // The signature alone would be enough to make the token again.
    let signature = site
        .token
        .rsplit('.')
        .next()
        .expect("a JWT has three parts");
    let found = |dir: &Path| files_with(dir, signature.as_bytes());
    assert!(
        !found(stock.root()).is_empty(),
        "the search finds what stock BuildKit leaves"
    );
    assert_eq!(found(gateway.root()), Vec::<String>::new());
    let mut logs = found(&site.lab.path("logs"));
    logs.retain(|log| !log.contains("/token-stdout-")); // where the token was made
    assert_eq!(logs, Vec::<String>::new());
}

/// The files that contain the needle, each with what stands before it.
fn files_with(dir: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("read a directory") {
        let entry = entry.expect("read a directory");
        let kind = entry.file_type().expect("the kind of a file");
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), needle));
        } else if kind.is_file() {
            let content = fs::read(entry.path()).expect("read a file");
            if let Some(at) = content
                .windows(needle.len())
                .position(|window| window == needle)
            {
                let before = String::from_utf8_lossy(&content[at.saturating_sub(200)..at]);
                found.push(format!("{}: …{before}", entry.path().display()));
            }
        }
    }
    found
}
