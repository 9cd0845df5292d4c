//! `docs/METRICS.md`: every metric, from the registries that render them.
//!
//! `make docs` writes the page, and a test of the command line fails while it is stale.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use clap::Args;

use crate::{
    app, service,
    telemetry::{Description, Registry},
};

/// The name of the command.
pub(super) const NAME: &str = "metrics-page";

const HEAD: &str = "\
# Metrics

Written by `make docs` from the descriptions that the program itself serves: change those, not this page.

Metrics are in Prometheus' text format (0.0.4). Counters end in `_total` and restart at 0 with the process; sizes are
in bytes and times in seconds. Labels with few values are there from the start, at 0, so that `rate()` misses no first
event; samples of other labels appear with their first event. A histogram `x` has the series `x_bucket`, `x_sum` and
`x_count`.

- `gateway` serves them at `/metrics` of its admin socket (`--admin-socket`, by default `buildkit-gha.sock` beside
  the builder's socket), and over TCP where `--metrics-listen` says; SIGUSR1 logs them.
- `serve` serves them at `/metrics` of its own address, without a token.

A scrape configuration for both:

    scrape_configs:
      - job_name: buildkit-gha-gateway
        static_configs: [{ targets: ['builder.example:9090'] }]
      - job_name: buildkit-gha-serve
        scheme: https
        static_configs: [{ targets: ['cache.example:3000'] }]

[`deploy/grafana/buildkit-gha.json`](../deploy/grafana/buildkit-gha.json) is a dashboard of them, and
[`deploy/prometheus/alerts.yaml`](../deploy/prometheus/alerts.yaml) has alerts. `make dashboard-check` runs every query of both
against a Prometheus that scrapes a real gateway and a real service.
";

/// Prints the page.
#[derive(Debug, Args)]
pub(super) struct MetricsPage;

impl MetricsPage {
    /// Prints it.
    pub(super) fn run() -> ExitCode {
        print!("{}", page());
        ExitCode::SUCCESS
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let gateway = app::described_metrics();
    section(&mut page, "gateway", gateway.registry());
    let service = service::Metrics::new(Path::new("/"), service::config::Budgets::default());
    section(&mut page, "serve", service.registry());
    page
}

fn section(page: &mut String, command: &str, registry: &Registry) {
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "\n## `{command}`\n\n| metric | type | labels | what it is |\n|---|---|---|---|\n"
    );
    page.extend(registry.descriptions().iter().map(row));
}

fn row(description: &Description) -> String {
    let labels: Vec<_> = (description.labels.iter())
        .map(|(name, values)| {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            if values.is_empty() {
                format!("`{name}`")
            } else {
                format!("`{name}`: {}", values.join(", "))
            }
        })
        .collect();
    let labels = if labels.is_empty() {
        "–".to_owned()
    } else {
        labels.join("; ")
    };
    let Description {
        name, kind, help, ..
    } = description;
    format!("| `{name}` | {kind} | {labels} | {help} |\n")
}
