//! Records of builds, and what is counted of them.

use std::time::Duration;

use super::*;
use crate::{
    cache::{FoundIndex, IndexSummary, ServiceUsage},
    telemetry::Metrics,
};

fn assert_counts(metrics: &Metrics, samples: &[&str]) {
    let text = metrics.render();
    for sample in samples {
        let line = format!("\nbuildkit_gha_{sample}\n");
        assert!(text.contains(&line), "{sample} in:\n{text}");
    }
}

fn import_summary(found: Result<FoundIndex, NoIndex>, late: bool) -> ImportSummary {
    let index = IndexSummary {
        branch: "main".to_owned(),
        found,
    };
    ImportSummary {
        scope: "app".to_owned(),
        indexes: vec![index],
        layers_confirmed: 0,
        layers_gone: 0,
        layers_fetched: 0,
        bytes_fetched: 0,
        layers_ahead: 0,
        fetching: Duration::ZERO,
        usage: ServiceUsage::default(),
        duration: Duration::ZERO,
        late,
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_builds_are_kept_and_said_first() {
    let records = BuildRecords::default();
    let steps = Arc::default();
    for number in 0..=MAX_BUILDS {
        let record = Arc::new(BuildRecord::new(
            &number.to_string(),
            &steps,
            BuildCounters::default(),
        ));
        records.add(&record);
        records.add(&record);
    }
    let builds = records.builds();
    assert_eq!(builds.len(), MAX_BUILDS);
    assert_eq!(builds[0].reference, MAX_BUILDS.to_string());
    assert_eq!(builds[MAX_BUILDS - 1].reference, "1");
}

#[tokio::test(start_paused = true)]
async fn a_build_runs_until_its_first_end() {
    let steps = Arc::default();
    let metrics = Metrics::default();
    let record = BuildRecord::new("build", &steps, BuildCounters::new(metrics.clone()));
    record.begin();
    assert_eq!(record.build().outcome, None);
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    record.end(stats::Outcome::Failed);
    record.end(stats::Outcome::Canceled);
    let build = record.build();
    assert_eq!(build.outcome, Some(stats::Outcome::Failed));
    assert_eq!(build.duration_seconds, Some(3.0));
    assert_counts(
        &metrics,
        &[
            "builds_total{outcome=\"failed\"} 1",
            "build_duration_seconds_sum{outcome=\"failed\"} 3.0",
        ],
    );
    let internal = BuildRecord::new("internal", &steps, BuildCounters::new(metrics.clone()));
    internal.end(stats::Outcome::Ok);
    assert_counts(&metrics, &["builds_total{outcome=\"ok\"} 0"]);
    assert_eq!(build.steps, None, "nobody watched it");
    let warn = |text: &str| {
        let detail = vec!["because".to_owned()];
        record.apply(&Event::Warning(Warning::new(text, detail)));
    };
    (0..2).for_each(|_| warn("the same"));
    assert_eq!(record.build().warnings, ["the same: because"]);
    (0..2 * MAX_WARNINGS).for_each(|number| warn(&number.to_string()));
    assert_eq!(record.build().warnings.len(), MAX_WARNINGS);
}

#[test]
fn a_pending_export_becomes_what_it_comes_to() {
    let metrics = Metrics::default();
    let record = BuildRecord::new(
        "build",
        &Arc::default(),
        BuildCounters::new(metrics.clone()),
    );
    let summary = |scope: &str, state| ExportSummary {
        state,
        ..ExportSummary::skipped(scope)
    };
    let tell = |scope, state| {
        record.apply(&Event::ExportSummary(Box::new(summary(scope, state))));
    };
    tell("a", ExportEnd::Pending);
    let pending = &record.build().exports[0];
    let unknown = (pending.layers_present, pending.layers_left_out);
    assert_eq!((pending.layers_sent, unknown), (Some(0), (None, None)));
    tell("b", ExportEnd::Written);
    tell("a", ExportEnd::Written);
    let exports = record.build().exports;
    let scopes: Vec<_> = exports.iter().map(|export| export.scope.as_str()).collect();
    assert_eq!(scopes, ["a", "b"]);
    let state = stats::ExportState::Written;
    assert!(exports.iter().all(|export| export.state == state));
    assert_eq!(exports[0].layers_present, Some(0));
    tell("c", ExportEnd::Cancelled);
    let counts = ["written", "cancelled"].map(|outcome| {
        let count = if outcome == "written" { 2 } else { 1 };
        format!("exports_total{{outcome=\"{outcome}\"}} {count}")
    });
    assert_counts(&metrics, &counts.each_ref().map(String::as_str));
}

#[test]
fn exports_that_fail_are_counted_before_and_after_the_end_of_their_builds() {
    let counters = BuildCounters::default();
    let record = BuildRecord::new("build", &Arc::default(), counters.clone());
    for (scope, state) in [
        ("a", ExportEnd::Pending),
        ("b", ExportEnd::Failed),
        ("a", ExportEnd::Failed),
        ("c", ExportEnd::Cancelled),
    ] {
        let summary = ExportSummary {
            state,
            ..ExportSummary::skipped(scope)
        };
        record.apply(&Event::ExportSummary(Box::new(summary)));
    }
    let expected = stats::FailedExports {
        all: 2,
        after_build: 1,
    };
    assert_eq!(counters.failed_exports(), expected);
}

#[test]
fn an_import_is_counted_by_what_became_of_its_index() {
    let metrics = Metrics::default();
    let record = BuildRecord::new(
        "build",
        &Arc::default(),
        BuildCounters::new(metrics.clone()),
    );
    let tell = |found, late| {
        let summary = import_summary(found, late);
        record.apply(&Event::ImportSummary(Box::new(summary)));
    };
    let found = FoundIndex {
        created: None,
        layers: 1,
    };
    tell(Ok(found.clone()), false);
    tell(Ok(found), true);
    tell(Err(NoIndex::Absent), true);
    tell(Err(NoIndex::Failed), false);
    record.skip_import();
    for outcome in ["found", "late", "absent", "failed", "skipped"] {
        assert_counts(
            &metrics,
            &[&format!("imports_total{{outcome=\"{outcome}\"}} 1")],
        );
    }
    let reasons = record.build().imports.into_iter();
    let reasons: Vec<_> = reasons.filter_map(|import| import.index?.reason).collect();
    assert_eq!(reasons, [stats::NoIndex::Absent, stats::NoIndex::Failed]);
}
