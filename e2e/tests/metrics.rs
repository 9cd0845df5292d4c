//! The metrics of the gateway and of the service, as they are after real builds.

use crate::harness::{Api, Build, Builder, Daemon, Http, Site, check_metrics};

/// The value of a sample, which is a whole number.
fn value(text: &str, sample: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("{sample} in:\n{text}"));
    value.parse().expect("a number")
}

#[test]
fn builds_are_counted_under_names_that_promtool_likes() {
    let site = Site::new();
    let mut daemon = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_METRICS_LISTEN", "127.0.0.1:0");
    });
    let builder = Builder::remote(&daemon, "remote");
    let cache = site.gha(Api::V2, ",mode=max");
    let build = Build::new(&site.context).to(cache.clone()).from(cache);
    let gateway = Http::new(daemon.metrics_address());
    builder.build(&build).ok();
    let cold = gateway.text("/metrics").expect("metrics");
    builder.prune();
    builder.build(&build).ok().all_cached();
    let warm = gateway.text("/metrics").expect("metrics");
    let service = Http::new(site.service.address())
        .text("/metrics")
        .expect("metrics");
    for text in [&cold, &warm, &service] {
        assert_eq!(check_metrics(&site.lab, text), "", "promtool complains");
    }

    let layers = "buildkit_gha_cache_hits_total{kind=\"layer\"}";
    let absent = "buildkit_gha_cache_misses_total{kind=\"index\",reason=\"absent\"}";
    assert_eq!((value(&cold, layers), value(&cold, absent)), (0, 1));
    assert!(value(&warm, layers) > 0);
    assert_eq!(value(&warm, absent), 1);
    assert_eq!(
        value(&warm, "buildkit_gha_cache_hits_total{kind=\"index\"}"),
        1
    );
    assert!(
        value(
            &warm,
            "buildkit_gha_cache_hits_total{kind=\"exported_layer\"}"
        ) > 0
    );
    let exports =
        |outcome| format!("buildkit_gha_export_duration_seconds_count{{outcome=\"{outcome}\"}}");
    assert_eq!(value(&warm, &exports("written")), 1);
    assert_eq!(value(&warm, &exports("unchanged")), 1);
    for (sample, count) in [
        ("buildkit_gha_builds_total{outcome=\"ok\"}", 2),
        ("buildkit_gha_builds_total{outcome=\"failed\"}", 0),
        (
            "buildkit_gha_build_duration_seconds_count{outcome=\"ok\"}",
            2,
        ),
        ("buildkit_gha_exports_total{outcome=\"written\"}", 1),
        ("buildkit_gha_exports_total{outcome=\"unchanged\"}", 1),
        ("buildkit_gha_exports_total{outcome=\"failed\"}", 0),
        ("buildkit_gha_imports_total{outcome=\"absent\"}", 1),
        ("buildkit_gha_imports_total{outcome=\"found\"}", 1),
        ("buildkit_gha_layers_left_out_total{cause=\"denied\"}", 0),
    ] {
        assert_eq!(value(&warm, sample), count, "{sample}");
    }
    let (up, down) = (
        "buildkit_gha_uploaded_bytes_total",
        "buildkit_gha_downloaded_bytes_total",
    );
    assert!(value(&cold, up) > 3_000_000, "one layer is random");
    assert_eq!(value(&warm, up), value(&cold, up), "nothing is sent again");
    assert!(value(&warm, down) > value(&cold, down));
    // What the one has sent the other has received.
    assert_eq!(
        value(&warm, up),
        value(&service, "buildkit_gha_service_received_bytes_total")
    );

    let lookups = "buildkit_gha_remote_call_duration_seconds_count{operation=\"lookup\"}";
    assert!(value(&warm, lookups) > value(&cold, lookups));
    for idle in [
        "buildkit_gha_builds_in_flight",
        "buildkit_gha_uploads_pending",
        "buildkit_gha_export_spool_bytes",
        "buildkit_gha_remote_calls_in_flight{operation=\"lookup\"}",
        "buildkit_gha_remote_call_retries_total{operation=\"lookup\"}",
    ] {
        assert_eq!(value(&warm, idle), 0, "{idle}");
    }
    let origin = site.service.url();
    let breaker = format!(
        "buildkit_gha_circuit_breaker_open{{origin=\"{}\"}}",
        origin.trim_end_matches('/')
    );
    assert_eq!(value(&warm, &breaker), 0);
    assert!(value(&warm, "process_resident_memory_bytes") > 1_000_000);
    assert!(value(&service, "buildkit_gha_service_entries") > 2);
    assert!(
        value(
            &service,
            "buildkit_gha_service_lookups_total{result=\"miss\"}"
        ) > 0
    );
    assert!(value(&service, "buildkit_gha_service_disk_free_bytes") > 0);
}
