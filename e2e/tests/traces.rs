//! What a build's time went into: spans under those of the client, in buildkitd's history and at a collector.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::{
    Api, Build, Builder, CollectedSpan, Collector, Daemon, SOON, Site, command, run,
};

/// A span as `buildx history trace` prints it, in Jaeger's form.
struct Span {
    name: String,
    parent: Option<String>,
    tags: BTreeMap<String, String>,
}

/// The trace of the last build, by the ids of its spans.
fn history(builder: &Builder) -> (BTreeMap<String, Span>, String) {
    let mut trace = builder.buildx();
    trace.args(["history", "trace", "--builder", builder.name()]);
    let text = run(builder.lab(), "trace", trace, SOON).ok("buildx history trace");
    let trace: Value = serde_json::from_str(&text).expect("a trace in JSON");
    let spans = trace["data"][0]["spans"].as_array().expect("spans");
    let text_of = |value: &Value| value.as_str().expect("a text").to_owned();
    let spans = spans.iter().map(|span| {
        let tags = span["tags"].as_array().into_iter().flatten();
        let tag = |tag: &Value| (text_of(&tag["key"]), tag["value"].to_string());
        let parent = span["references"][0]["spanID"].as_str();
        let read = Span {
            name: text_of(&span["operationName"]),
            parent: parent.map(str::to_owned),
            tags: tags.map(tag).collect(),
        };
        (text_of(&span["spanID"]), read)
    });
    (spans.collect(), text)
}

/// The names of a span and of all above it.
fn line_of<'a>(spans: &'a BTreeMap<String, Span>, mut id: &'a str) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(span) = spans.get(id) {
        names.push(span.name.clone());
        match &span.parent {
            Some(parent) => id = parent,
            None => break,
        }
    }
    names
}

#[test]
fn the_history_of_a_build_has_the_gateways_spans_under_the_clients() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::remote(&daemon, "remote");
    let cache = site.gha(Api::V2, ",mode=max,scope=app");
    let build = Build::new(&site.context).to(cache.clone()).from(cache);
    builder.build(&build).ok();
    let (spans, text) = history(&builder);
    assert!(!text.contains(&site.token), "no token is in a trace");
    let mut lines: Vec<_> = spans.keys().map(|id| line_of(&spans, id)).collect();
    lines.sort();
    let under = |name: &str, above: &[&str]| {
        let found = lines.iter().find(|line| line[0] == name);
        let found = found.unwrap_or_else(|| panic!("{name} in {lines:#?}"));
        assert_eq!(found[1..=above.len()], *above, "{found:?}");
        // The client's own command is the root.
        let root = found.last().expect("a line has a name");
        assert!(root.starts_with("build "), "{found:?}");
    };
    let solve = "moby.buildkit.v1.Control/Solve";
    under("buildkit-gha build", &[solve]);
    under(
        "buildkit-gha session",
        &["moby.buildkit.v1.Control/Session"],
    );
    under("cache import", &["buildkit-gha build", solve]);
    under("load indexes", &["cache import", "buildkit-gha build"]);
    under("cache export", &["buildkit-gha build", solve]);
    under(
        "write layers and index",
        &["cache export", "buildkit-gha build"],
    );
    under("cache upload part", &["cache export", "buildkit-gha build"]);
    assert!(
        lines
            .iter()
            .any(|line| line[0] == "buildkit-gha connection"),
        "{lines:#?}"
    );
    let export = spans.values().find(|span| span.name == "cache export");
    let tags = &export.expect("it was found above").tags;
    assert_eq!(tags["buildkit_gha.scope"], "\"app\"");
    assert_eq!(tags["buildkit_gha.outcome"], "\"written\"");

    // The next build finds all that this one has written, and needs the layers for its result.
    builder.prune();
    let build = build.tar(site.lab.path("result.tar"));
    builder.build(&build).ok().all_cached();
    let (spans, _) = history(&builder);
    let export = spans.values().find(|span| span.name == "cache export");
    assert_eq!(
        export.expect("an export").tags["buildkit_gha.outcome"],
        "\"unchanged\""
    );
    let downloads = spans.values().filter(|span| span.name == "cache download");
    assert!(downloads.count() > 0, "layers were fetched");
}

/// The spans of the gateway that have come, once one of a build is among them.
fn of_gateway(collector: &mut Collector) -> Vec<CollectedSpan> {
    collector.until("the span of a build", |spans| {
        let ours = spans.iter().filter(|span| span.service == "builders");
        let ours: Vec<_> = ours.filter(|span| is_ours(&span.name)).cloned().collect();
        let whole = |name: &str| ours.iter().any(|span| span.name == name);
        (whole("buildkit-gha build") && whole("cache export")).then_some(ours)
    })
}

fn is_ours(name: &str) -> bool {
    name.starts_with("buildkit-gha ") || name.starts_with("cache ")
}

fn assert_once(spans: &[CollectedSpan]) {
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.span).collect();
    assert_eq!(ids.len(), spans.len(), "each span comes once: {spans:#?}");
}

/// buildkitd has the variables of its gateway, and sends on what clients and the gateway give it.
#[test]
fn a_collector_gets_each_span_of_a_clients_trace_once() {
    let site = Site::new();
    let mut collector = Collector::start(&site.lab);
    let daemon = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        let endpoint = format!("http://{}", collector.grpc);
        gateway.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        gateway.env("OTEL_SERVICE_NAME", "builders");
    });
    let builder = Builder::remote(&daemon, "remote");
    let build = Build::new(&site.context).to(site.gha(Api::V1, ",mode=max"));
    builder.build(&build).ok();
    let ours = of_gateway(&mut collector);
    assert_once(&ours);
    let traces: BTreeSet<_> = ours.iter().map(|span| &span.trace).collect();
    let all = collector.spans();
    let solve = |span: &&CollectedSpan| span.name == "moby.buildkit.v1.Control/Solve";
    let solve = all.iter().find(solve).expect("buildkitd's own span");
    assert!(traces.contains(&solve.trace), "{traces:?} {solve:?}");
}

/// In front of a buildkitd that runs already the gateway sends itself, over HTTP here. A client that traces
/// nothing leaves the trace to the gateway.
#[test]
fn a_collector_gets_traces_that_no_client_has_begun() {
    let site = Site::new();
    let mut collector = Collector::start(&site.lab);
    let stock = Daemon::stock(&site.lab, "stock");
    let daemon = Daemon::in_front_of(&stock, "gateway", |gateway| {
        let endpoint = format!("http://{}", collector.http);
        gateway.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        gateway.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        gateway.env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20hunter2",
        );
        gateway.env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
        gateway.env("OTEL_SERVICE_NAME", "builders");
    });
    let mut solve = command(&site.lab, "solve");
    solve.args([&daemon.address(), "frontend"]);
    let export = site.gha(Api::V2, ",mode=max");
    solve.arg(site.context.dir()).args([&export, ""]);
    run(&site.lab, "solve", solve, SOON).ok("solve");
    let ours = of_gateway(&mut collector);
    assert_once(&ours);
    for span in &ours {
        assert_eq!(
            (span.via.as_str(), span.authorization.as_str()),
            ("http", "Bearer hunter2")
        );
    }
    let build = ours.iter().find(|span| span.name == "buildkit-gha build");
    let build = build.expect("it was waited for");
    assert_eq!(build.parent, "", "it is the root of its trace");
    assert!(!build.attributes["build.ref"].is_empty());
    let export = ours.iter().find(|span| span.name == "cache export");
    let export = export.expect("it was waited for");
    assert_eq!((&export.parent, &export.trace), (&build.span, &build.trace));
    assert_eq!(export.error, "");
    assert!(!daemon.process.log().contains("hunter2"));
}

/// A collector that is gone costs a build nothing but its traces.
#[test]
fn a_collector_that_is_gone_fails_no_build() {
    let site = Site::new();
    let stock = Daemon::stock(&site.lab, "stock");
    let daemon = Daemon::in_front_of(&stock, "gateway", |gateway| {
        // Nobody listens on the port of the discard service.
        gateway.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    });
    let builder = Builder::remote(&daemon, "remote");
    let build = Build::new(&site.context).to(site.gha(Api::V2, ",mode=max"));
    builder.build(&build).ok().no_warnings();
    let mut daemon = daemon;
    daemon.process.until("it says so once", SOON, |log| {
        let told = log.matches("the collector does not take traces").count();
        (told == 1).then_some(())
    });
}
