//! The Grafana dashboard and the alerts name metrics that there are, and every query of theirs runs on Prometheus.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;
use serde_json::Value;

use crate::harness::{Api, Build, Builder, Daemon, Lab, Prometheus, SOON, Site, command, run};

const DASHBOARD: &str = "deploy/grafana/buildkit-gha.json";
const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const ALERTS_TEST: &str = "e2e/alerts/alerts_test.yaml";

/// What Grafana puts in the place of its variables.
const VARIABLES: [(&str, &str); 3] = [
    ("$__rate_interval", "1m"),
    ("$__range", "6h"),
    ("$instance", ".*"),
];

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every `expr` in a document.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::String(expression) if name == "expr" => found.push(expression.clone()),
            value => expressions(value, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// The expressions of the alerts: promtool reads the file, but prints none of them.
fn alerts() -> Vec<String> {
    let text = file(ALERTS);
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(expression) = line.trim_start().strip_prefix("expr: ") else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut expression = expression.trim_start_matches('|').to_owned();
        while let Some(more) = lines.next_if(|line| {
            let deeper = line.len() - line.trim_start().len();
            deeper > indent
        }) {
            expression.extend([" ", more.trim()]);
        }
        found.push(expression);
    }
    found
}

fn all() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&file(DASHBOARD)).expect("a dashboard in JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 30, "{} queries", found.len());
    let alerts = alerts();
    assert!(alerts.len() > 10, "{} alerts", alerts.len());
    found.extend(alerts);
    for expression in &mut found {
        for (variable, value) in VARIABLES {
            *expression = expression.replace(variable, value);
        }
        assert!(
            !expression.contains('$'),
            "a variable that is not known: {expression}"
        );
    }
    found
}

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<String> {
    let names = Regex::new(r"\b(?:buildkit_gha|process)_[a-z0-9_]+|\bup\b").expect("a pattern");
    let texts = Regex::new(r#""[^"]*""#).expect("a pattern");
    let bare = texts.replace_all(expression, "");
    names
        .find_iter(&bare)
        .map(|name| name.as_str().to_owned())
        .collect()
}

#[test]
fn every_query_runs_on_a_prometheus_that_scrapes_a_real_gateway_and_service() {
    // Limits that are not set have no metric.
    let site = Site::with(|serve| {
        let limits = [
            ("MAX_SIZE", "1GB"),
            ("MAX_ENTRIES", "10000"),
            ("MAX_AGE", "7d"),
        ];
        serve.envs(limits.map(|(name, value)| (format!("BUILDKIT_GHA_{name}"), value)));
    });
    let mut daemon = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_METRICS_LISTEN", "127.0.0.1:0");
    });
    let builder = Builder::remote(&daemon, "remote");
    let cache = site.gha(Api::V2, ",mode=max");
    let build = Build::new(&site.context).to(cache.clone()).from(cache);
    builder.build(&build).ok();
    let gateway = daemon.metrics_address();
    let jobs = [
        ("buildkit-gha-gateway", gateway),
        ("buildkit-gha-serve", site.service.address()),
    ];
    let mut prometheus = Prometheus::start(&site.lab, &jobs);
    prometheus.until_any("buildkit_gha_builds_in_flight and on () buildkit_gha_service_entries");
    let scraped: BTreeSet<_> = prometheus.names().into_iter().collect();
    let mut wrong = Vec::new();
    for expression in all() {
        if let Err(error) = prometheus.query(&expression) {
            wrong.push(format!("{expression}: {error}"));
        }
        let names = named(&expression);
        if names.is_empty() {
            wrong.push(format!("{expression}: names no metric"));
        }
        let unknown: Vec<_> = names.difference(&scraped).collect();
        if !unknown.is_empty() {
            wrong.push(format!("{expression}: there is no {unknown:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The check can fail.
    assert!(
        prometheus
            .query("sum(rate(buildkit_gha_builds_in_flight[)")
            .is_err()
    );
    let error = prometheus
        .query("buildkit_gha_builds_in_flight")
        .expect("a value");
    assert_eq!(error.len(), 1);
}

#[test]
fn alerts_are_valid_and_fire_when_they_should() {
    let lab = Lab::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (what, file) in [("check", ALERTS), ("test", ALERTS_TEST)] {
        let mut promtool = command(&lab, "promtool");
        promtool.args([what, "rules"]).arg(root.join(file));
        run(&lab, "promtool", promtool, SOON).ok(what);
    }
}
