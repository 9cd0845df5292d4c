//! Warnings: one for each cause, in the build's log and in BuildKit's history, with the lines of the
//! Dockerfile where they are known.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    harness::{Api, Build, Builder, Context, Daemon, SOON, Site, run},
    proxy::{Fault, Operation, Proxy, Rule, Subject, When},
};

/// Steps one after another, so that each layer can be called by the step that made it.
const STEPS: &str = "
RUN head -c 300000 /dev/urandom > /one && sleep 1.5
RUN head -c 300000 /dev/urandom > /two && sleep 1.5
RUN cat /one /two > /three
";

/// The line of the first of them: `with_shell` puts four lines before it, and one is empty.
const FIRST_LINE: u64 = 6;

/// A site with a builder of buildx behind the gateway.
struct Fixture {
    site: Site,
    context: Context,
    builder: Builder,
    _daemon: Daemon,
}

impl Fixture {
    fn new() -> Self {
        let site = Site::new();
        let daemon = Daemon::gateway(&site.lab, "gateway");
        Self {
            builder: Builder::remote(&daemon, "remote"),
            context: Context::with_shell(&site.lab, "steps", STEPS),
            site,
            _daemon: daemon,
        }
    }

    /// The plain log of the last build, from buildkitd's history.
    fn history(&self) -> String {
        let mut logs: Command = self.builder.buildx();
        logs.args(["history", "logs", "--builder", self.builder.name()]);
        logs.arg("--progress=plain");
        let logs = run(&self.site.lab, "history", logs, SOON);
        assert!(logs.status.success(), "{}", logs.stderr);
        format!("{}{}", logs.stdout, logs.stderr)
    }
}

#[test]
fn layers_that_are_left_out_are_one_warning_with_its_lines_and_in_the_history() {
    let fixture = Fixture::new();
    let proxy = Proxy::start(&fixture.site.service);
    let denied = Rule::new(Fault::WriteDenied, When::Always);
    proxy.rule(denied.on(Operation::Create).about(Subject::Layer));
    let (url, token) = (Api::V2.attributes(&proxy.url()), &fixture.site.token);
    let metadata = fixture.site.lab.path("metadata.json");
    let build = Build::new(&fixture.context)
        .to(format!("type=gha,{url},token={token},mode=max"))
        .arg(format!("--metadata-file={}", metadata.display()))
        .env("BUILDX_METADATA_WARNINGS", "1");
    let outcome = fixture.builder.build(&build).ok();
    let [warning] = &outcome.warnings[..] else {
        panic!("{:?}", outcome.warnings)
    };
    let lost = "cache export: 5 of 5 layers could not be saved and are left out; the steps that made \
                them will run again: sha256:";
    assert!(warning.starts_with(lost), "{warning}");
    let history = fixture.history();
    let kept = history.matches("WARN: cache export: 5 of 5 layers").count();
    assert_eq!(kept, 1, "{history}");
    // What docker/build-push-action makes annotations of.
    let metadata = fs::read_to_string(metadata).expect("buildx wrote it");
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let warnings = metadata["buildx.build.warnings"].as_array();
    let [warning] = &warnings.expect("a list")[..] else {
        panic!("{metadata}")
    };
    assert_eq!(warning["sourceInfo"]["filename"], "Dockerfile");
    let ranges = warning["range"].as_array().expect("a list");
    let lines: Vec<_> = (ranges.iter())
        .filter_map(|range| range["start"]["line"].as_u64())
        .collect();
    for line in FIRST_LINE..FIRST_LINE + 2 {
        assert!(lines.contains(&line), "{lines:?}");
    }
}

#[test]
fn layers_that_are_gone_are_one_warning_and_in_the_history_of_a_build_that_exports_nothing() {
    let fixture = Fixture::new();
    let Fixture { site, builder, .. } = &fixture;
    let cache = site.gha(Api::V2, ",mode=max");
    let build = Build::new(&fixture.context);
    builder.build(&build.clone().to(&cache)).ok().no_warnings();
    builder.prune();
    let blobs = site.service.entries(&site.token, "buildkit-blob");
    let random = blobs.iter().filter(|blob| blob.size_in_bytes > 290_000);
    let random: Vec<_> = random.filter(|blob| blob.size_in_bytes < 310_000).collect();
    assert_eq!(random.len(), 2, "the layers of two steps");
    for blob in random {
        site.service.delete(&site.token, blob);
    }
    let outcome = builder
        .build(&build.from(cache).tar(site.tar("again")))
        .ok();
    let [warning] = &outcome.warnings[..] else {
        panic!("{:?}", outcome.warnings)
    };
    assert!(
        warning.contains("no longer in the cache (evicted)"),
        "{warning}"
    );
    assert!(warning.contains("the next export of a build"), "{warning}");
    let history = fixture.history();
    let kept = history.matches("WARN: cache import: ").count();
    assert_eq!(kept, 1, "{history}");
}
